"""A memory of what came within a window of time, by partition: for each entry, the offset of the record that brought it first.

A busy site has millions of entries in its window, so an entry is a row of octets and no object: 40 to 70 octets where a dict and a
queue took 390. Rows lie in buckets by the first bits of the entry, in the order of their time, and are found by the search of bytes.
"""

from collections.abc import Iterable
from struct import Struct

_ROW = Struct("<16sqq")
"""Entry, offset, time."""


class Recent:
    """window: seconds. Entries are 16 octets of a digest, so they spread evenly. A partition's entries are noted in the order of their
    times, but for those that are noted again."""

    def __init__(self, window: float) -> None:
        self.window_ms = round(window * 1000)
        self._partitions: dict[int, _Rows] = {}

    def forget(self, partitions: Iterable[int]) -> None:
        """All of these partitions."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def reached(self, partition: int, time_ms: int) -> None:
        """Nobody will ask any more what was known before that time (ms), so that what is older than the window then may go."""
        if rows := self._partitions.get(partition):
            rows.oldest = max(rows.oldest, time_ms - self.window_ms)

    def note(self, partition: int, offset: int, time_ms: int, entry: bytes) -> int:
        """Notes that the record at `offset`, appended at that time (ms), brought the entry; gives the offset that did so first in the
        window before. Raises ValueError for an entry of another length."""
        rows = self._partitions.get(partition)
        if rows is None:
            rows = self._partitions[partition] = _Rows()
        return rows.note(offset, time_ms, entry, time_ms - self.window_ms)


class _Rows:
    """The entries of one partition. oldest: the time (ms) before which a row may go."""

    def __init__(self) -> None:
        self.oldest = 0
        self._buckets: dict[int, bytearray] = {}

    def note(self, offset: int, time_ms: int, entry: bytes, since: int) -> int:
        if len(entry) != 16:
            raise ValueError(f"an entry has 16 octets, not {len(entry)}")
        number = _number(entry)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        first = _found(bucket, entry, since)
        if first is not None:
            return first
        self._drop_old(bucket)
        bucket += _ROW.pack(entry, offset, time_ms)
        return offset

    def _drop_old(self, bucket: bytearray) -> None:
        at = 0
        while at < len(bucket) and _ROW.unpack_from(bucket, at)[2] < self.oldest:
            at += _ROW.size
        del bucket[:at]


def _found(bucket: bytearray, entry: bytes, since: int) -> int | None:
    """The offset of the first row of the entry that is not older than that time."""
    at = bucket.find(entry)
    while at >= 0:
        if at % _ROW.size == 0:  # else the same octets across two fields
            _, offset, time_ms = _ROW.unpack_from(bucket, at)
            if time_ms >= since:
                return int(offset)
        at = bucket.find(entry, at + 1)
    return None


def _number(entry: bytes) -> int:
    """The bucket of an entry, one of 4096: a few hundred rows each where a partition remembers a million."""
    return entry[0] << 4 | entry[1] >> 4
