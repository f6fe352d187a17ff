"""A member of a group on the SQLite engine."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from streams.errors import Fenced, LogError, PositionExpired
from streams.log import Batch, Consumer, Rebalanced, Standing
from streams.record import Draft, Record, TopicPartition
from streams.sqlite import membership
from streams.sqlite.membership import Member, Move, Owned
from streams.sqlite.reading import Reading
from streams.sqlite.rows import MAX_PARTITIONS, PARTITION_BITS, Row, Topic, ranges, record_of
from streams.sqlite.shared import Shared
from streams.sqlite.worker import monotonic
from streams.sqlite.writer import Step, Written

T = TypeVar("T")

TICK = 0.05
"""Seconds between two looks at whether another process has written. This process's own writer wakes us at once."""

LOOK = 0.5
"""Seconds between two looks at whether the group's other members are alive, at most."""


class Failure:
    """What the commits of a consumer have in common until it is rewound: once one has failed, those after it fail too."""

    def __init__(self) -> None:
        self._first: LogError | None = None

    def note(self, error: BaseException) -> None:
        """Remembers the first failure."""
        if self._first is None and isinstance(error, LogError):
            self._first = error

    def check(self) -> None:
        """Raises if there was one."""
        if self._first is not None:
            raise type(self._first)(f"a commit before this one failed: {self._first}") from self._first


class SqliteConsumer(Consumer):
    """See `streams.log.Consumer`."""

    def __init__(
        self, shared: Shared, group: str, member: Member, topics: Sequence[Topic], *, on_assigned: Rebalanced, on_revoked: Rebalanced
    ) -> None:
        self._shared = shared
        self._reading = Reading(shared.path)
        self._group = group
        self._member = member
        self._topics = {topic.id: topic for topic in topics}
        self._partitions = topics[0].partitions
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._owned: dict[int, Owned] = {}  # by slot; all topics of a partition or none
        self._next: dict[int, int] = {}  # the offset to read next, by slot
        self._paused: set[int] = set()
        self._lost: set[int] = set()  # partitions that others took from us; not claimed again until rewind
        self._gone: set[int] = set()  # partitions found lost by rewind; on_revoked is still to be called
        self._failure = Failure()
        self._turn = 0
        self._version = -1
        self._look_at = 0.0
        self._writes = -1
        self._open = True
        self._bell = threading.Event()
        shared.listen(self._bell, self._topics.keys())

    # Reading

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Consumer.poll`."""
        deadline = monotonic() + timeout
        while True:
            self._bell.clear()
            self._balance()
            batch = self._take(limit)
            if batch.records or batch.positions or not self._wait(deadline):
                return batch

    def seek(self, at: TopicPartition, offset: int) -> None:
        """See `Consumer.seek`. Raises ValueError for a partition that is not ours."""
        slot = self._slot(at)
        if slot not in self._next:
            raise ValueError(f"{at} is not assigned to this consumer")
        self._next[slot] = offset

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._paused.update(self._slot(at) for at in partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        self._paused.difference_update(self._slot(at) for at in partitions)

    def notes(self, partition: int) -> dict[TopicPartition, Standing]:
        """See `Consumer.notes`."""
        slots = [topic.slot(partition) for topic in self._topics.values()]
        return {self._at(slot): Standing(self._owned[slot].offset, self._owned[slot].note) for slot in slots if slot in self._owned}

    @property
    def assigned(self) -> frozenset[int]:
        """See `Consumer.assigned`."""
        return frozenset(slot & MAX_PARTITIONS - 1 for slot in self._owned)

    def _take(self, limit: int) -> Batch:
        """A batch of what is there. Every slot that has records gets an equal part, and what one leaves goes to the next; where
        the limit is smaller than their number, they take turns."""
        reading = [slot for slot in self._next if slot not in self._paused]
        heads = self._reading.heads(reading) if reading else {}
        behind = [slot for slot in reading if heads[slot].next > self._next[slot]]
        start = self._turn % len(behind) if behind else 0
        self._turn += 1
        records: list[Record] = []
        positions: dict[TopicPartition, int] = {}
        for taken, slot in enumerate(behind[start:] + behind[:start]):
            share = -(-(limit - len(records)) // (len(behind) - taken))
            if share <= 0:
                break
            topic, offset, head = self._topics[slot >> PARTITION_BITS], self._next[slot], heads[slot]
            if offset < head.first:
                raise PositionExpired(f"group {self._group} stands at {offset} in {self._at(slot)}, whose oldest record is {head.first}")
            low, high = ranges(slot, offset, head.next)
            page = self._reading.page(low, high, share, live=True)
            records.extend([record_of(topic.name, row) for row in page.rows])
            self._next[slot] = positions[self._at(slot)] = offset + page.end - low
        return Batch(records, positions)

    def _wait(self, deadline: float) -> bool:
        """Waits until there may be something new; returns False at the deadline."""
        while (left := deadline - monotonic()) > 0:
            if self._bell.wait(min(left, TICK)):
                return True
            ((writes,),) = self._reading.rows("PRAGMA data_version")
            if writes != self._writes or monotonic() >= self._look_at:
                self._writes = writes
                return True
        return False

    # Writing

    def commit(
        self, outputs: Sequence[Draft], positions: Mapping[TopicPartition, int], notes: Mapping[TopicPartition, str] | None = None
    ) -> "Future[None]":
        """See `Consumer.commit`."""
        beside = notes or {}
        if not beside.keys() <= positions.keys():
            raise ValueError("notes are written beside positions; use note() where the position stays")
        try:
            rows = self._shared.rows_of(outputs)
            moves = [self._move(at, offset, beside.get(at, "")) for at, offset in positions.items()]
        except LogError as error:
            # It fails in its turn, so that the commits before it do not.
            return self._queue(self._refuse(error))
        return self._queue(self._moving(moves), rows)

    def note(self, notes: Mapping[TopicPartition, str]) -> None:
        """See `Consumer.note`."""
        self._queue(self._moving([self._move(at, None, text) for at, text in notes.items()])).result()

    def rewind(self) -> None:
        """See `Consumer.rewind`."""
        # In the writer's order, so what was committed before counts.
        now = self._change(lambda connection: membership.held(connection, self._member))
        kept = {slot: owned for slot, owned in self._owned.items() if slot in now and now[slot].epoch == owned.epoch}
        whole = self.assigned - {slot & MAX_PARTITIONS - 1 for slot in self._owned.keys() - kept.keys()}
        self._gone |= self.assigned - whole
        self._drop(self._gone)
        self._next = {slot: now[slot].offset for slot in self._owned}
        self._failure = Failure()
        self._lost.clear()
        self._version = -1

    def close(self) -> None:
        """See `Consumer.close`."""
        if not self._open:
            return
        self._open = False
        try:
            if self._owned:
                self._on_revoked(self.assigned)
            self._drop(set(self.assigned))
            self._change(lambda connection: membership.leave(connection, self._member))
        finally:
            self._shared.unlisten(self._bell)
            self._reading.close()

    def _queue(self, step: Step, rows: Sequence[Row] = ()) -> "Future[None]":
        """Has the writer take the step and store the rows, unless a commit before has failed."""
        failure = self._failure
        answer: Future[None] = Future()
        answer.set_running_or_notify_cancel()  # it cannot be taken back

        def run(connection: sqlite3.Connection) -> None:
            failure.check()
            step(connection)

        def done(written: "Future[Written]") -> None:
            error = written.exception()
            if error is None:
                answer.set_result(None)
            else:
                failure.note(error)
                answer.set_exception(error)

        self._shared.writer.submit(run, rows).add_done_callback(done)
        return answer

    def _move(self, at: TopicPartition, offset: int | None, note: str) -> Move:
        slot = self._slot(at)
        owned = self._owned.get(slot)
        if owned is None:
            raise Fenced(f"{at} is not ours in group {self._group}")
        return Move(slot, offset, note, owned.epoch)

    def _moving(self, moves: Sequence[Move]) -> Step:
        return lambda connection: membership.move(connection, self._member, moves)

    def _refuse(self, error: LogError) -> Step:
        def refuse(_connection: sqlite3.Connection) -> None:
            raise error

        return refuse

    # Membership

    def _balance(self) -> None:
        """Sees who else works in the group now, gives up what is meant for others, and takes what is meant for us."""
        if self._gone:
            gone, self._gone = frozenset(self._gone), set()
            self._on_revoked(gone)
        ((version,),) = self._reading.rows("SELECT version FROM groups WHERE id = ?", (self._member.group,))
        now = monotonic()
        if version == self._version and now < self._look_at:
            return
        self._version = version
        self._look_at = now + min(LOOK, self._shared.session / 8)
        topics = list(self._topics.values())
        live, _ = membership.live_members(self._reading.rows, self._member, now)
        if self._member.id not in live:
            # Others took us for dead, as we were frozen for longer than the session.
            self._change(lambda connection: membership.rejoin(connection, self._member, self._shared.lease()))
            live = sorted([*live, self._member.id])
        holders = membership.owners(self._reading.rows, self._member.group, topics)
        self._lose({slot for slot, owned in self._owned.items() if holders[slot] != (self._member.id, owned.epoch)})
        meant = membership.meant_for(self._member.id, live, self._partitions)
        self._release(self.assigned - meant)
        wanted = meant - self.assigned - self._lost
        free = {p for p in wanted if all(membership.is_free(holders[topic.slot(p)][0], live) for topic in topics)}
        if free:
            self._claim(topics)

    def _lose(self, slots: set[int]) -> None:
        """Others own these now: whatever we hold of them is stale, so no commit may follow until rewind."""
        if not slots:
            return
        lost = {slot & MAX_PARTITIONS - 1 for slot in slots}
        self._failure.note(Fenced(f"other members of group {self._group} took partitions {sorted(lost)} from us"))
        self._lost |= lost
        self._drop(lost)
        self._on_revoked(frozenset(lost))

    def _release(self, partitions: frozenset[int]) -> None:
        """Gives up partitions that are meant for others, after the caller has finished with them."""
        if not partitions:
            return
        self._on_revoked(partitions)
        slots = [topic.slot(p) for topic in self._topics.values() for p in partitions]
        self._drop(partitions)
        self._change(lambda connection: membership.release(connection, self._member, slots))

    def _claim(self, topics: Sequence[Topic]) -> None:
        """Takes what is meant for us and free."""
        barred = self._lost | self.assigned
        claimed = self._change(lambda connection: membership.claim(connection, self._member, topics, barred, monotonic()))
        if claimed:
            self._owned.update(claimed)
            self._next.update({slot: owned.offset for slot, owned in claimed.items()})
            self._on_assigned(frozenset(slot & MAX_PARTITIONS - 1 for slot in claimed))

    def _drop(self, partitions: Iterable[int]) -> None:
        """Forgets all about these partitions."""
        for slot in [topic.slot(p) for topic in self._topics.values() for p in partitions]:
            self._owned.pop(slot, None)
            self._next.pop(slot, None)
            self._paused.discard(slot)

    def _change(self, step: Callable[[sqlite3.Connection], T]) -> T:
        """Takes a step that concerns the members, and has the others of this process look at it."""
        result: T = self._shared.writer.call(step).result
        self._shared.ring()
        return result

    # Names

    def _slot(self, at: TopicPartition) -> int:
        return self._reading.topic(at.topic).slot(at.partition)

    def _at(self, slot: int) -> TopicPartition:
        return TopicPartition(self._topics[slot >> PARTITION_BITS].name, slot & MAX_PARTITIONS - 1)
