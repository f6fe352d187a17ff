"""Looking at the file: short statements on a connection of one's own, so that no snapshot outlives a page."""

import json
import math
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from streams.errors import Fatal, TopicMissing
from streams.record import Record
from streams.sqlite import schema
from streams.sqlite.batches import AROUND, CARRIED, SHARED, Entry, entries, record_in, reference_in
from streams.sqlite.border import border
from streams.sqlite.slots import MAX_OFFSET, Topic, ranges

PAGE_RECORDS = 256
PAGE_BYTES = 8 << 20
"""A page ends with the record that reaches this many bytes, so that memory stays flat where values are large."""


class Page(NamedTuple):
    """Records of a range of ids. end: the id up to which the range was looked through. size: bytes of their values, if asked for."""

    records: list[Record]
    end: int
    size: int


_Found = tuple[int, bytes, Entry]
"""A record in a batch: the batch's time and body, and where it lies there."""


class Head(NamedTuple):
    """The offsets that a slot has: first is the oldest kept, next is one past the newest."""

    first: int
    next: int


class Span(NamedTuple):
    """What to read of a partition: offsets (end exclusive) and append times in ms (until exclusive)."""

    start: int | None = None
    end: int | None = None
    since: int | None = None
    until: int | None = None


_BATCHES = """SELECT first, time, body FROM batches
    WHERE first < ? AND first >= coalesce((SELECT max(first) FROM batches WHERE first <= ?), ?) ORDER BY first"""
_LIVE = """SELECT first, time, body FROM batches INDEXED BY live WHERE live = 1
    AND first < ? AND first >= coalesce((SELECT max(first) FROM batches INDEXED BY live WHERE live = 1 AND first <= ?), ?) ORDER BY first"""
"""A batch that begins before the first id may hold it."""
_MOST_CONTENTS = 64
_CONTENTS = f"SELECT digest, value FROM contents WHERE id IN ({','.join('?' * _MOST_CONTENTS)})"


class Reading:
    """A connection that looks. Its methods may be called from any thread; they raise only `streams.errors`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with border(path):
            self._connection = schema.connect(path, write=False)
        self._topics: dict[str, Topic] = {}

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            self._connection.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query that brings few."""
        with self._lock, border(self._path):
            return self._connection.execute(query, values).fetchall()

    def topic(self, name: str) -> Topic:
        """A topic by name. A topic never changes once it is there, so it is looked up once. Raises TopicMissing."""
        known = self._topics.get(name)
        if known is None:
            self.topics()
            known = self._topics.get(name)
            if known is None:
                raise TopicMissing(f"topic {name} does not exist in {self._path}")
        return known

    def topics(self) -> dict[str, Topic]:
        """All topics that exist now."""
        self._topics = {name: Topic(number, name, partitions) for number, name, partitions in self.rows(_TOPICS)}
        return self._topics

    def heads(self, slots: Sequence[int]) -> dict[int, Head]:
        """The offsets that these slots have."""
        ((found,),) = self.rows(_HEADS, (json.dumps(slots),))
        return {slot: Head(first, following) for slot, first, following in json.loads(found)}

    def page(self, topic: str, low: int, high: int, limit: int, *, live: bool = False, values: bool = True) -> Page:
        """At most limit records of a topic's slot with low <= id < high, in order. live: without the carried ones, which cost nothing
        where a batch has no others. values: False leaves values and digests out."""
        records: list[Record] = []
        shared: list[_Found] = []
        contents: dict[bytes, bytes] | None = {} if values else None
        passed_over = CARRIED if live else 0
        size = count = 0
        end = high
        with self._snapshot() as connection:
            with closing(connection.execute(_LIVE if live else _BATCHES, (high, low, low))) as batches:
                for first, time, body in batches:
                    for entry in entries(first, body):
                        number, flags, *_, value = entry
                        if not low <= number < high or flags & passed_over:
                            continue
                        if flags & SHARED and values:
                            shared.append((time, body, entry))
                        else:  # at once, so that no body is kept that holds a large value
                            records.append(record_in(topic, time, body, entry, contents))
                        count += 1
                        size += value if values else 0
                        if count == limit or size >= PAGE_BYTES:
                            end = number + 1
                            break
                    else:
                        continue
                    break
            if shared:
                contents = self._contents(connection, shared)
        if shared:
            mixed = bool(records)
            records += [record_in(topic, *one, contents) for one in shared]
            if mixed:
                records.sort(key=attrgetter("offset"))
        return Page(records, end, size)

    def these(self, wanted: Mapping[int, str]) -> dict[int, Record]:
        """The records of these ids that are there, by id. wanted: the topic of each id."""
        with self._snapshot() as connection:
            with closing(connection.execute(AROUND, (json.dumps(list(wanted)),))) as batches:
                found = [(time, body, entry) for first, time, _, body in batches for entry in entries(first, body) if entry[0] in wanted]
            contents = self._contents(connection, [one for one in found if one[2][1] & SHARED])
        return {one[2][0]: record_in(wanted[one[2][0]], *one, contents) for one in found}

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Statements that see the same: what a batch refers to must not go before it is read."""
        with self._lock, border(self._path):
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                if self._connection.in_transaction:  # SQLite ends it by itself after some errors
                    self._connection.execute("COMMIT")

    def _contents(self, connection: sqlite3.Connection, found: Sequence[_Found]) -> dict[bytes, bytes]:
        """The values of records that are SHARED, by digest."""
        wanted = dict(reference_in(body, entry) for _, body, entry in found)
        places = list(wanted.values())
        contents: dict[bytes, bytes] = {}
        for at in range(0, len(places), _MOST_CONTENTS):
            some = places[at : at + _MOST_CONTENTS]
            contents.update(connection.execute(_CONTENTS, (*some, *[None] * (_MOST_CONTENTS - len(some)))).fetchall())
        if gone := wanted.keys() - contents.keys():
            raise Fatal(f"{self._path}: the contents {gone.pop().hex()} are not there; restore the log from a copy")
        return contents

    def oldest(self, slot: int) -> float:
        """The append time in ms of the first record of a slot; infinite where it has none."""
        found = self._batch(*ranges(slot, 0, MAX_OFFSET))
        return found[1] if found else math.inf

    def between(self, slot: int, span: Span) -> tuple[int, int]:
        """The ids that a span covers in a slot, up to what is committed now."""
        head = self.heads([slot])[slot]
        first, last = max(head.first, span.start or 0), head.next
        if span.since is not None:
            first = max(first, self._offset_at(slot, head, span.since))
        if span.end is not None:
            last = min(last, span.end)
        if span.until is not None:
            last = min(last, self._offset_at(slot, head, span.until))
        return ranges(slot, first, last)

    def _offset_at(self, slot: int, head: Head, time: int) -> int:
        """The offset of the first record that was appended at that time (ms) or later. Times do not go back within a partition, and
        all records of a batch have one, so halving the range finds the batch, and no index is needed."""
        low, high = start, end = ranges(slot, *head)
        while low < high:
            middle = (low + high) // 2
            found = self._batch(middle, end)
            if found is None or found[1] >= time:
                high = middle
            else:
                low = found[0] + 1
        found = self._batch(low, end)
        return head.first + (found[0] if found else end) - start

    def _batch(self, low: int, high: int) -> tuple[int, int] | None:
        """The id of the first record of the first batch that begins in that range, and its time."""
        found = self.rows(_TIME, (low, high))
        return found[0] if found else None


_TOPICS = "SELECT id, name, partitions FROM topics ORDER BY name"
_HEADS = "SELECT json_group_array(json_array(slot, first, next)) FROM heads WHERE slot IN (SELECT value FROM json_each(?))"
_TIME = "SELECT first, time FROM batches WHERE first >= ? AND first < ? ORDER BY first LIMIT 1"
