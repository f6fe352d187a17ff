"""The last outcomes, and new ones as they come."""

import heapq
from collections import deque
from collections.abc import Callable, Iterator

from postroom.reading import glance
from postroom.reading.outcomes import Replies, select
from postroom.reading.rows import Found
from postroom.reading.selectors import Filter
from streams.log import Reader
from topology.records import Topics

_FIRST_STEP = 64
"""Records of a partition that are looked at first; each step further back looks at four times as many."""


class Tail:
    """Looks at mail.outcomes from its end. Of each outcome it gives the `reply` that is known at that moment."""

    def __init__(self, log: Reader, topics: Topics, wanted: Filter) -> None:
        self._log = log
        self._topic = topics.outcomes
        self._wanted = wanted
        self._extents = log.extents(self._topic) if log.partitions(self._topic) else []

    def last(self, count: int) -> list[Found]:
        """The last wanted outcomes before the tail was made, at most so many, in the order in which the log took them."""
        found = [one for partition in range(len(self._extents)) for one in self._last_of(partition, count)]
        found.sort(key=lambda one: one.record.time)
        return found[-count:] if count else []

    def follow(self, wait: Callable[[], bool]) -> Iterator[Found]:
        """The wanted outcomes that come from then on, for as long as `wait` says so, which is called when there is nothing new."""
        ends = [extent.end for extent in self._extents]
        while True:
            starts, ends = ends, [extent.end for extent in self._log.extents(self._topic)] if ends else []
            fresh = [self._found(*span) for span in zip(range(len(ends)), starts, ends, strict=True) if span[1] < span[2]]
            yield from heapq.merge(*fresh, key=lambda one: one.record.time)
            if not fresh and not wait():
                return

    def _last_of(self, partition: int, count: int) -> deque[Found]:
        first, end = self._extents[partition]
        step = max(_FIRST_STEP, 2 * count)
        while True:
            start = max(first, end - step)
            found = deque(self._found(partition, start, end), maxlen=count)
            if len(found) >= count or start == first:
                return found
            step *= 4

    def _found(self, partition: int, start: int, end: int) -> Iterator[Found]:
        # Read twice: a reply's event comes after what it is about.
        replies = Replies()
        for record in self._log.read(self._topic, partition, start=start, end=end):
            if record.header("ce_type") == glance.REPLY:
                replies.learn(record.value)
        yield from select(self._log.read(self._topic, partition, start=start, end=end), self._wanted, replies)
