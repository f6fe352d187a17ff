"""Records that this process has just written, kept in memory for its own groups: reading one back takes SQLite and us ten times as long
as handing it on."""

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from streams.record import Draft, Record
from streams.sqlite.append import Placed
from streams.sqlite.reading import PAGE_BYTES, Page
from streams.sqlite.slots import MAX_OFFSET, OFFSET_BITS, partition_of

LIMIT = 48 << 20
"""Bytes: some five thousand mails of 4 KB, two batches of a chain and more, which is what it is ahead of the handlers of its process. A
group that is further behind reads from the file."""

_RECORD = 4 << 10
"""Bytes of a record's other parts, as Python keeps them."""


class Run(NamedTuple):
    """Records of a slot that follow each other. first: the id of the first; end: one past the last. time: of all, in ms. live: those that
    are not carried, by their ids. size: bytes that it keeps."""

    first: int
    end: int
    time: int
    live: Sequence[tuple[int, Draft]]
    size: int


def run(placed: Placed) -> Run:
    """The run of a pile, stored from that id on."""
    first, time, pile = placed
    live = [(number, draft) for number, draft in enumerate(pile.drafts, first) if not draft.carried]
    # A header may know in another form what it says, which takes as much again.
    size = pile.size + pile.size_of_headers + pile.size_of_contents if live else 0
    return Run(first, first + len(pile), time, live, size + _RECORD * (1 + len(live)))


class Tail:
    """Runs by slot, first in, first out; bytes: of all. Thread-safe. Only what is committed may be put in, in the order of its commits, and
    `clear` is to be called once any record was changed or erased: then this is no longer what the file says."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._gate = threading.Lock()
        self._slots: dict[int, list[Run]] = {}
        self._order: deque[int] = deque()  # the slots of all runs, the oldest first
        self._size = 0

    def keep(self, runs: Sequence[Run]) -> None:
        """Keeps these, and gives up the oldest where that is too much."""
        with self._gate:
            for one in runs:
                slot = one.first >> OFFSET_BITS
                self._slots.setdefault(slot, []).append(one)
                self._order.append(slot)
                self._size += one.size
            while self._size > self._limit:
                self._size -= self._slots[self._order.popleft()].pop(0).size

    def clear(self) -> None:
        """Forgets everything."""
        with self._gate:
            self._slots.clear()
            self._order.clear()
            self._size = 0

    def page(self, topic: str, low: int, high: int, limit: int) -> Page | None:
        """As `Reading.page` gives it, of what is live, as far as it is kept; None where the record at low is not."""
        records: list[Record] = []
        size, at = 0, low
        with self._gate:
            runs = self._slots.get(low >> OFFSET_BITS, [])
            for one in runs[max(0, bisect_right(runs, low, key=_FIRST) - 1) :]:
                if not one.first <= at < min(one.end, high):
                    break
                for number, draft in one.live:
                    if number >= at:
                        if number >= high or len(records) == limit or size >= PAGE_BYTES:
                            return Page(records, min(number, high), size)
                        records.append(_record(topic, number, one.time, draft))
                        size += len(draft.value)
                at = min(one.end, high)
        return Page(records, at, size) if at > low else None


_FIRST = attrgetter("first")


def _record(topic: str, number: int, time: int, draft: Draft) -> Record:
    _, key, value, headers, _, carried, digest, _ = draft
    return Record(topic, partition_of(number >> OFFSET_BITS), number & MAX_OFFSET, time, key, value, headers, carried, digest)
