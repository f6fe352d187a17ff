"""A member's share of its group: which partitions it owns, and where it reads next in them."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from streams.errors import Fenced, LogError
from streams.log import Rebalanced
from streams.sqlite import membership
from streams.sqlite.membership import Member, Move, Owned
from streams.sqlite.reading import Reading
from streams.sqlite.shared import Shared
from streams.sqlite.slots import Topic, partition_of
from streams.sqlite.worker import monotonic

LOOK = 0.5
"""Seconds after which a member sees anew whether the others are alive, at most. It learns of joins, leaves and claims at once."""

T = TypeVar("T")


class Failure:
    """What the commits of a consumer have in common until it is rewound: once one has failed, those after it fail too."""

    def __init__(self) -> None:
        self._first: LogError | None = None

    def __bool__(self) -> bool:
        return self._first is not None

    def note(self, error: LogError) -> None:
        """Remembers the first failure."""
        self._first = self._first or error

    def check(self) -> None:
        """Raises if there was one."""
        if self._first is not None:
            raise type(self._first)(f"a commit before this one failed: {self._first}") from self._first


class Share:
    """Balances itself with those of the other members. Used by the consumer's thread alone, but for `failure`.

    owned: by slot, as of when we got it or last went back to it, with the epoch that proves it; always all topics of a partition, or
    none. next: the offset to read next, by slot.
    """

    def __init__(
        self, shared: Shared, reading: Reading, member: Member, topics: Sequence[Topic], *, gained: Rebalanced, lost: Rebalanced
    ) -> None:
        self.owned: dict[int, Owned] = {}
        self.next: dict[int, int] = {}
        self.failure = Failure()
        self._shared = shared
        self._reading = reading
        self._member = member
        self._topics = topics
        self._gained = gained
        self._given_up = lost
        self._gone: set[int] = set()  # partitions that rewind found taken; the caller is still to hear of it
        self._version = -1
        self.look_at = 0.0

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are ours."""
        return frozenset(map(partition_of, self.owned))

    def balance(self) -> None:
        """Sees who else works in the group now; gives up what is meant for others, and takes what is meant for us and free. Costs one
        short statement when nothing has changed."""
        if self._gone:
            gone, self._gone = frozenset(self._gone), set()
            self._given_up(gone)
        ((version,),) = self._reading.rows("SELECT version FROM groups WHERE id = ?", (self._member.group,))
        now = monotonic()
        if version == self._version and now < self.look_at:
            return
        if version != self._version:
            self._shared.tail.clear()  # a record may have been changed, see `removal.revise`
        self._version = version
        self.look_at = now + min(LOOK, self._shared.session / 8)
        live, _ = membership.live_members(self._reading.rows, self._member, now)
        if self._member.id not in live:
            # Others took us for dead, as we were frozen for longer than the session.
            self._change(lambda connection: membership.rejoin(connection, self._member, self._shared.lease()))
            live[self._member.id] = self._member.topics
        holders = membership.owners(self._reading.rows, self._member.group, self._topics)
        self._lose({partition_of(slot) for slot, owned in self.owned.items() if holders[slot] != (self._member.id, owned.epoch)})
        meant = membership.meant_for(self._member, live, self._topics[0].partitions)
        self._release(self.partitions - meant)
        # While commits fail, nothing is claimed: what the caller still holds of a partition that was lost must not pass for ours again.
        if not self.failure and membership.free(meant - self.partitions, self._topics, holders, live):
            self._claim()

    def rewind(self) -> None:
        """Goes back to where the group stands, and ends the state of failure. Comes in the writer's order, so that what was committed
        before counts."""
        held = self._change(lambda connection: membership.held(connection, self._member))
        taken = {partition_of(slot) for slot, owned in self.owned.items() if slot not in held or held[slot].epoch != owned.epoch}
        self._drop(taken)
        self._gone |= taken
        self.owned = {slot: held[slot] for slot in self.owned}
        self.next = {slot: owned.offset for slot, owned in self.owned.items()}
        self.failure = Failure()
        self._version = -1

    def leave(self) -> None:
        """Gives everything up and leaves the group."""
        if self.owned:
            self._given_up(self.partitions)
        self._drop(self.partitions)
        self._change(lambda connection: membership.leave(connection, self._member))

    def moving(self, moves: Sequence[Move]) -> Callable[[sqlite3.Connection], None]:
        """The step that moves the group in slots that are ours."""
        return lambda connection: membership.move(connection, self._member, moves)

    def _lose(self, partitions: set[int]) -> None:
        """Others own these now. Whatever we hold of them is stale, so no commit may follow until rewind."""
        if not partitions:
            return
        self.failure.note(Fenced(f"other members of the group took partitions {sorted(partitions)}"))
        self._drop(partitions)
        self._given_up(frozenset(partitions))

    def _release(self, partitions: frozenset[int]) -> None:
        """Gives up partitions that are meant for others, once the caller has finished with them."""
        if not partitions:
            return
        self._given_up(partitions)
        slots = self._drop(partitions)
        self._change(lambda connection: membership.release(connection, self._member, slots))

    def _claim(self) -> None:
        ours = self.partitions
        claimed = self._change(lambda connection: membership.claim(connection, self._member, self._topics, ours, monotonic()))
        if claimed:
            self.owned.update(claimed)
            self.next.update({slot: owned.offset for slot, owned in claimed.items()})
            self._gained(frozenset(map(partition_of, claimed)))

    def _drop(self, partitions: Iterable[int]) -> list[int]:
        """Forgets all about these partitions; returns their slots."""
        slots = [topic.slot(partition) for topic in self._topics for partition in partitions]
        for slot in slots:
            self.owned.pop(slot, None)
            self.next.pop(slot, None)
        return slots

    def _change(self, step: Callable[[sqlite3.Connection], T]) -> T:
        """Takes a step that concerns the members, and has the others of this process look."""
        result: T = self._shared.writer.call(step).result
        self._shared.ring()
        return result
