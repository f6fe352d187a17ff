"""Looking at the file: short statements on a connection of one's own, so that no snapshot outlives a page."""

import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from streams.errors import TopicMissing
from streams.sqlite import schema
from streams.sqlite.border import border
from streams.sqlite.rows import MAX_OFFSET, SELECTED, WITHOUT_VALUE, Stored, Topic, ranges

PAGE_ROWS = 256
PAGE_BYTES = 8 << 20
"""A page ends with the record that reaches this many bytes, so that memory stays flat where values are large."""


class Page(NamedTuple):
    """Rows of a range of ids. end: the id up to which the range was looked through. size: bytes of their values."""

    rows: list[Stored]
    end: int
    size: int


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


_FROM = f"SELECT {SELECTED} FROM records r {{}} LEFT JOIN contents c ON c.id = r.content"
_ALL = f"{_FROM.format('')} WHERE r.id >= ? AND r.id < ? ORDER BY r.id LIMIT ?"
_LIVE = f"{_FROM.format('INDEXED BY live')} WHERE r.carried = 0 AND r.id >= ? AND r.id < ? ORDER BY r.id LIMIT ?"
_BARE = f"SELECT {WITHOUT_VALUE} FROM records r WHERE r.id >= ? AND r.id < ? ORDER BY r.id LIMIT ?"
_THESE = f"{_FROM.format('')} WHERE r.id IN (SELECT value FROM json_each(?))"


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

    def page(self, low: int, high: int, limit: int, *, live: bool = False, values: bool = True) -> Page:
        """At most limit rows with low <= id < high, in order. live: without the carried ones, which cost nothing then. values: False
        for rows without their values, whose pages are not read then."""
        rows: list[Stored] = []
        size = 0
        with self._lock, border(self._path):
            found = self._connection.execute(_LIVE if live else _ALL if values else _BARE, (low, high, limit))
            for row in found:
                rows.append(row)
                size += len(row[5]) if row[5] else 0
                if size >= PAGE_BYTES:
                    break
            found.close()
        whole = len(rows) < limit and size < PAGE_BYTES
        return Page(rows, high if whole else rows[-1][0] + 1, size)

    def these(self, ids: Sequence[int]) -> dict[int, Stored]:
        """The rows of these ids that are there, by id."""
        return {row[0]: row for row in self.rows(_THESE, (json.dumps(ids),))}

    def oldest(self, slot: int) -> float:
        """The append time in ms of the first record of a slot; infinite where it has none."""
        found = self.rows(_TIME, ranges(slot, 0, MAX_OFFSET))
        return float(found[0][1]) if found else math.inf

    def between(self, slot: int, span: Span) -> tuple[int, int]:
        """The row ids that a span covers in a slot, up to what is committed now."""
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
        """The offset of the first record that was appended at that time (ms) or later. Times do not go back within a partition, so
        halving the range finds it, and no index is needed."""
        low, high = head
        while low < high:
            middle = (low + high) // 2
            found = self.rows(_TIME, ranges(slot, middle, high))
            if not found or found[0][1] >= time:
                # All from the middle on is late enough, or erased.
                high = middle
            else:
                low = (found[0][0] & MAX_OFFSET) + 1
        return low


_TOPICS = "SELECT id, name, partitions FROM topics ORDER BY name"
_HEADS = "SELECT json_group_array(json_array(slot, first, next)) FROM heads WHERE slot IN (SELECT value FROM json_each(?))"
_TIME = "SELECT id, time FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 1"
