"""A memory of what came within a window of time, by partition: for each entry, the offset of the record that brought it first."""

from collections import deque
from collections.abc import Iterable


class Recent:
    """window: seconds. An entry costs 300 to 400 bytes."""

    def __init__(self, window: float) -> None:
        self.window_ms = round(window * 1000)
        self._known: dict[int, dict[bytes, int]] = {}
        self._ages: dict[int, deque[tuple[int, bytes]]] = {}

    def forget(self, partitions: Iterable[int]) -> None:
        """All of these partitions."""
        for partition in partitions:
            self._known.pop(partition, None)
            self._ages.pop(partition, None)

    def first(self, partition: int, entry: bytes) -> int | None:
        """The offset that brought the entry, or None."""
        known = self._known.get(partition)
        return known.get(entry) if known else None

    def note(self, partition: int, offset: int, time_ms: int, entry: bytes) -> int:
        """Notes that the record at `offset`, appended at that time (ms), brought the entry; gives the offset that did so first. Forgets
        what is older than the window."""
        known, ages = self._known.setdefault(partition, {}), self._ages.setdefault(partition, deque())
        first = known.setdefault(entry, offset)
        if first == offset:
            ages.append((time_ms, entry))
        while ages and ages[0][0] < time_ms - self.window_ms:
            known.pop(ages.popleft()[1], None)
        return first
