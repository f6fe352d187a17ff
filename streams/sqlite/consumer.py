"""A member of a group on the SQLite engine."""

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from streams.errors import Fenced, LogError, PositionExpired
from streams.log import Batch, Consumer, Rebalanced, Standing
from streams.record import Draft, Record, TopicPartition
from streams.sqlite.batches import Pile
from streams.sqlite.membership import Member, Move
from streams.sqlite.reading import PAGE_BYTES, Head, Page, Reading
from streams.sqlite.share import Share
from streams.sqlite.shared import Shared
from streams.sqlite.slots import Topic, partition_of, ranges, topic_of
from streams.sqlite.worker import monotonic
from streams.sqlite.writer import Step, Written

TICK = 0.05
"""Seconds between two looks at whether another process has written. This process's own writer wakes us at once."""


class SqliteConsumer(Consumer):
    """See `streams.log.Consumer`."""

    def __init__(
        self, shared: Shared, group: str, member: Member, topics: Sequence[Topic], *, on_assigned: Rebalanced, on_revoked: Rebalanced
    ) -> None:
        self._shared = shared
        self._group = group
        self._reading = Reading(shared.path)
        self._topics = {topic.id: topic for topic in topics}
        self._on_revoked = on_revoked
        self._share = Share(shared, self._reading, member, topics, gained=on_assigned, lost=self._give_up)
        self._paused: set[int] = set()  # slots
        self._turn = 0
        self._writes = -1
        self._open = True
        self._woken = False
        self._bell = threading.Event()
        shared.listen(self._bell, self._topics.keys())

    # Reading

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Consumer.poll`. A batch also ends with the record that reaches 8 MiB of values."""
        deadline = monotonic() + timeout
        while True:
            self._bell.clear()
            self._share.balance()
            batch = self._take(limit)
            if batch.records or batch.positions or self._woken or not self._wait(deadline):
                self._woken = False
                return batch

    def wake(self) -> None:
        """See `Consumer.wake`."""
        self._woken = True
        self._bell.set()

    def seek(self, at: TopicPartition, offset: int) -> None:
        """See `Consumer.seek`. Raises ValueError for a partition that is not ours."""
        slot = self._slot(at)
        if slot not in self._share.next:
            raise ValueError(f"{at} is not assigned to this consumer")
        self._share.next[slot] = offset

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._paused.update(self._slot(at) for at in partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        self._paused.difference_update(self._slot(at) for at in partitions)

    def notes(self, partition: int) -> dict[TopicPartition, Standing]:
        """See `Consumer.notes`."""
        owned = self._share.owned
        return {self._at(slot): Standing(owned[slot].offset, owned[slot].note) for slot in owned if partition_of(slot) == partition}

    @property
    def fenced(self) -> bool:
        """See `Consumer.fenced`."""
        return bool(self._share.failure)

    @property
    def assigned(self) -> frozenset[int]:
        """See `Consumer.assigned`."""
        return self._share.partitions

    def _take(self, limit: int) -> Batch:
        """A batch of what is there. Every slot that has records gets an equal part, and what one leaves goes to the next; where
        the limit is smaller than their number, they take turns."""
        places = self._share.next
        reading = [slot for slot in places if slot not in self._paused]
        heads = self._reading.heads(reading) if reading else {}
        behind = [slot for slot in reading if heads[slot].next > places[slot]]
        start = self._turn % len(behind) if behind else 0
        self._turn += 1
        records: list[Record] = []
        positions: dict[TopicPartition, int] = {}
        size = 0
        for taken, slot in enumerate(behind[start:] + behind[:start]):
            share = -(-(limit - len(records)) // (len(behind) - taken))
            if share <= 0 or size >= PAGE_BYTES:
                break
            offset = self._kept(slot, heads[slot])
            low, high = ranges(slot, offset, heads[slot].next)
            page = self._page(self._topics[topic_of(slot)].name, low, high, share)
            records += page.records
            places[slot] = positions[self._at(slot)] = offset + page.end - low
            size += page.size
        return Batch(records, positions)

    def _page(self, topic: str, low: int, high: int, limit: int) -> Page:
        """What this process wrote itself it need not read."""
        return self._shared.tail.page(topic, low, high, limit) or self._reading.page(topic, low, high, limit, live=True)

    def _kept(self, slot: int, head: Head) -> int:
        """The offset to read next, which must still be there."""
        offset = self._share.next[slot]
        if offset < head.first:
            raise PositionExpired(f"group {self._group} stands at {offset} in {self._at(slot)}, whose oldest record is {head.first}")
        return offset

    def _wait(self, deadline: float) -> bool:
        """Waits until there may be something new; returns False at the deadline."""
        while (left := deadline - monotonic()) > 0:
            if self._bell.wait(min(left, TICK)):
                return True
            ((writes,),) = self._reading.rows("PRAGMA data_version")
            if writes != self._writes or monotonic() >= self._share.look_at:
                self._writes = writes
                return True
        return False

    # Writing

    def commit(
        self, outputs: Sequence[Draft], positions: Mapping[TopicPartition, int], notes: Mapping[TopicPartition, str] | None = None
    ) -> "Future[None]":
        """See `Consumer.commit`. What is called when the future is done runs in the writer's thread, so it must not wait for the log.
        Raises ValueError for a note where no position is given."""
        beside = notes or {}
        if not beside.keys() <= positions.keys():
            raise ValueError("notes are written beside positions; note() is for those where the position stays")
        try:
            piles = self._shared.pack(outputs)
            moves = [self._move(at, offset, beside.get(at, "")) for at, offset in positions.items()]
        except LogError as error:
            # It fails in its turn, so that the commits before it do not.
            return self._queue(_refusing(error))
        return self._queue(self._share.moving(moves), piles)

    def note(self, notes: Mapping[TopicPartition, str]) -> None:
        """See `Consumer.note`."""
        moves = [self._move(at, None, text) for at, text in notes.items()]
        self._queue(self._share.moving(moves)).result()

    def rewind(self) -> None:
        """See `Consumer.rewind`."""
        self._share.rewind()

    def close(self) -> None:
        """See `Consumer.close`."""
        if not self._open:
            return
        self._open = False
        try:
            self._share.leave()
        finally:
            self._shared.unlisten(self._bell)
            self._reading.close()

    def _queue(self, step: Step, piles: Sequence[Pile] = ()) -> "Future[None]":
        """Has the writer take the step and store the piles, unless a commit before has failed."""
        failure = self._share.failure
        answer: Future[None] = Future()
        answer.set_running_or_notify_cancel()  # it cannot be taken back

        def run(connection: sqlite3.Connection) -> None:
            failure.check()
            step(connection)

        def done(written: "Future[Written]") -> None:
            error = written.exception()
            if error is None:
                answer.set_result(None)
                return
            if isinstance(error, LogError):
                failure.note(error)
            answer.set_exception(error)

        self._shared.writer.submit(run, piles).add_done_callback(done)
        return answer

    def _move(self, at: TopicPartition, offset: int | None, note: str) -> Move:
        slot = self._slot(at)
        owned = self._share.owned.get(slot)
        if owned is None:
            raise Fenced(f"{at} is not ours in group {self._group}")
        return Move(slot, offset, note, owned.epoch)

    def _give_up(self, partitions: frozenset[int]) -> None:
        self._on_revoked(partitions)
        self._paused = {slot for slot in self._paused if partition_of(slot) not in partitions}

    # Names

    def _slot(self, at: TopicPartition) -> int:
        return self._reading.topic(at.topic).slot(at.partition)

    def _at(self, slot: int) -> TopicPartition:
        return TopicPartition(self._topics[topic_of(slot)].name, partition_of(slot))


def _refusing(error: LogError) -> Step:
    def refuse(_connection: sqlite3.Connection) -> None:
        raise error

    return refuse
