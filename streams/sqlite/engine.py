"""The log in one SQLite file: see `SqliteLog`."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from streams.errors import Fatal, TopicMissing
from streams.log import Consumer, Extent, Log, Rebalanced, Revision, Standing, TopicSpec, _nothing
from streams.record import Appended, Draft, Position, Record, TopicPartition
from streams.sqlite import membership, removal, schema
from streams.sqlite.consumer import SqliteConsumer
from streams.sqlite.membership import Member
from streams.sqlite.reading import PAGE_RECORDS, Span
from streams.sqlite.shared import Shared
from streams.sqlite.slots import MAX_OFFSET, MAX_PARTITIONS, MAX_TOPICS, OFFSET_BITS, Topic, partition_of


class SqliteLog(Log):
    """A log in one file, for all processes of one machine.

    path: the file; it is created if it is not there, its folder is not. session: seconds after which a worker that does not renew
    its lease (it is frozen, or died in another pid namespace) loses its partitions. largest: bytes that value, key and headers
    of a record may have together; more is TooLarge. clock: seconds since 1970, for the append times.

    Durable means: written to the write-ahead log and synced with fsync. Raises NotOurLog and Fatal when it cannot be opened.

    Every call of SQLite, and every row that one brings, gives up Python's interpreter lock, and a thread that computes hands it back
    only after `sys.getswitchinterval()`; hence `turns`.
    """

    revisable = True
    hands_on = True
    turns = 0.0005

    def __init__(self, path: Path, *, session: float = 6.0, largest: int = 256 << 20, clock: Callable[[], float] = time.time) -> None:
        real = path.resolve()
        schema.ensure_file(real)
        self._shared = Shared(real, session, largest, clock)
        self._reading = self._shared.reading
        self.id = self._shared.writer.log_id

    # Reader

    def topics(self) -> dict[str, int]:
        """See `Reader.topics`."""
        return {topic.name: topic.partitions for topic in self._reading.topics().values()}

    def extents(self, topic: str) -> list[Extent]:
        """See `Reader.extents`."""
        found = self._reading.topic(topic)
        slots = [found.slot(partition) for partition in range(found.partitions)]
        heads = self._reading.heads(slots)
        return [Extent(*heads[slot]) for slot in slots]

    def read(
        self,
        topic: str,
        partition: int | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
        since: int | None = None,
        until: int | None = None,
        values: bool = True,
    ) -> Iterator[Record]:
        """See `Reader.read`."""
        found = self._reading.topic(topic)
        partitions = range(found.partitions) if partition is None else [partition]
        return chain.from_iterable(self._read(found, number, Span(start, end, since, until), values=values) for number in partitions)

    def _read(self, topic: Topic, partition: int, span: Span, *, values: bool) -> Iterator[Record]:
        low, high = self._reading.between(topic.slot(partition), span)
        while low < high:
            page = self._reading.page(topic.name, low, high, PAGE_RECORDS, values=values)
            yield from page.records
            low = page.end

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `Reader.fetch`."""
        topics = self._reading.topics()
        ids = [self._id(position, topics) for position in positions]
        found = self._reading.these({number: at.topic for number, at in zip(ids, positions, strict=True) if number is not None})
        return [None if number is None else found.get(number) for number in ids]

    def _id(self, position: Position, topics: dict[str, Topic]) -> int | None:
        topic = topics.get(position.topic)
        if (
            position.log != self.id
            or topic is None
            or position.partition not in range(topic.partitions)
            or not 0 <= position.offset <= MAX_OFFSET
        ):
            return None
        return topic.slot(position.partition) << OFFSET_BITS | position.offset

    def standings(self, group: str, topics: Iterable[str]) -> dict[TopicPartition, Standing]:
        """See `Reader.standings`."""
        found: dict[TopicPartition, Standing] = {}
        for name in topics:
            try:
                topic = self._reading.topic(name)
            except TopicMissing:
                continue
            rows = self._reading.rows(_STANDINGS, (group, topic.slot(0), topic.slot(topic.partitions - 1)))
            found.update({TopicPartition(topic.name, partition_of(slot)): Standing(offset, note) for slot, offset, note in rows})
        return found

    # Log

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """See `Log.create`."""
        for spec in topics:
            if not 0 < spec.partitions <= MAX_PARTITIONS:
                raise Fatal(f"topic {spec.name}: {spec.partitions} partitions; this log takes 1 to {MAX_PARTITIONS}")
        self._shared.writer.call(lambda connection: _create(connection, topics))

    def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        """See `Log.append`."""
        if not drafts:
            return []
        stored = self._shared.writer.call(piles=self._shared.pack(drafts)).stored
        return [
            Appended(Position(self.id, draft.topic, partition_of(place >> OFFSET_BITS), place & MAX_OFFSET), number in stored.repeats)
            for number, (draft, place) in enumerate(zip(drafts, stored.places(), strict=True))
        ]

    def consumer(
        self, group: str, topics: Sequence[str], *, on_assigned: Rebalanced = _nothing, on_revoked: Rebalanced = _nothing
    ) -> Consumer:
        """See `Log.consumer`."""
        found = [self._reading.topic(name) for name in topics]
        if len({topic.partitions for topic in found}) != 1:
            counts = ", ".join(f"{topic.name}: {topic.partitions}" for topic in found)
            raise Fatal(f"group {group}: its topics must have the same number of partitions ({counts})")
        shared = self._shared

        def join(connection: sqlite3.Connection) -> Member:
            number = membership.ensure_group(connection, group, found)
            return membership.join(connection, number, shared.worker, shared.lease(), membership.topics_key(found))

        member: Member = shared.writer.call(join).result
        shared.ring()
        shared.keep_alive()
        return SqliteConsumer(shared, group, member, found, on_assigned=on_assigned, on_revoked=on_revoked)

    def ensure_group(self, group: str, topics: Sequence[str]) -> None:
        """See `Log.ensure_group`."""
        found = [self._reading.topic(name) for name in topics]
        self._shared.writer.call(lambda connection: membership.ensure_group(connection, group, found))

    def revise(self, revisions: Mapping[Position, Revision | None], outputs: Sequence[Draft] = ()) -> None:
        """See `Log.revise`. The pages are overwritten (PRAGMA secure_delete)."""
        topics = self._reading.topics()
        changes = {number: change for position, change in revisions.items() if (number := self._id(position, topics)) is not None}
        self._shared.writer.call(lambda connection: removal.revise(connection, changes), self._shared.pack(outputs))

    def scrub(self) -> bool:
        """See `Log.scrub`: moves the write-ahead log into the main file, and empties it."""
        return removal.scrub(self._shared.path)

    def trim(self, retention: Mapping[str, float]) -> Iterator[tuple[str, int]]:
        """See `Log.trim`. The room is used again by what comes later; the file does not become smaller."""
        there = self._reading.topics()
        for topic in [there[name] for name in retention if name in there]:
            before = self._shared.now() - round(retention[topic.name] * 1000)
            for slot in range(topic.slot(0), topic.slot(topic.partitions - 1) + 1):
                while self._reading.oldest(slot) < before and (dropped := self._trim(slot, before)):
                    yield topic.name, dropped

    def _trim(self, slot: int, before: int) -> int:
        dropped: int = self._shared.writer.call(lambda connection: removal.trim(connection, slot, before)).result
        return dropped

    def close(self) -> None:
        """See `Log.close`. Consumers that are still open lose what they own."""
        self._shared.close()


def _create(connection: sqlite3.Connection, topics: Sequence[TopicSpec]) -> None:
    for spec in topics:
        made = connection.execute(
            "INSERT INTO topics (name, partitions, retention) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
            (spec.name, spec.partitions, spec.retention),
        ).fetchone()
        if made is None:
            continue
        topic = Topic(made[0], spec.name, spec.partitions)
        if topic.id >= MAX_TOPICS:
            raise Fatal(f"topic {spec.name}: the log has {MAX_TOPICS - 1} topics, and takes no more")
        connection.executemany("INSERT INTO heads VALUES (?, 0, 0, 0)", [(topic.slot(partition),) for partition in range(topic.partitions)])


_STANDINGS = """SELECT s.slot, s.offset, s.note FROM groups g JOIN standings s ON s.grp = g.id
    WHERE g.name = ? AND s.slot BETWEEN ? AND ? ORDER BY s.slot"""
