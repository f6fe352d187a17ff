"""A memory of what came within a window of time, by partition: for each entry, the offset of the record that brought it first.

A busy site has millions of entries in its window, so an entry is a row of octets and no object: 40 to 70 octets where a dict and a
queue took 390. Rows lie in buckets by the first bits of the entry, in the order of their time, and are found by the search of bytes.
"""

from collections.abc import Iterable
from struct import Struct

_ROW = Struct("<16sqq")
"""Entry, offset, time."""


class Recent:
    """window: seconds. Entries are 16 octets of a digest, so they spread evenly."""

    def __init__(self, window: float) -> None:
        self.window_ms = round(window * 1000)
        self._partitions: dict[int, _Rows] = {}

    def forget(self, partitions: Iterable[int]) -> None:
        """All of these partitions."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def first(self, partition: int, entry: bytes) -> int | None:
        """The offset that brought the entry, or None."""
        rows = self._partitions.get(partition)
        return rows.first(entry) if rows else None

    def note(self, partition: int, offset: int, time_ms: int, entry: bytes) -> int:
        """Notes that the record at `offset`, appended at that time (ms), brought the entry; gives the offset that did so first. Forgets
        what is older than the window. Raises ValueError for an entry of another length."""
        rows = self._partitions.get(partition)
        if rows is None:
            rows = self._partitions[partition] = _Rows(self.window_ms)
        return rows.note(offset, time_ms, entry)


class _Rows:
    """The entries of one partition."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._oldest = 0  # the time before which a row no longer counts
        self._buckets: dict[int, bytearray] = {}

    def first(self, entry: bytes) -> int | None:
        bucket = self._buckets.get(_number(entry))
        return self._found(bucket, entry) if bucket else None

    def note(self, offset: int, time_ms: int, entry: bytes) -> int:
        if len(entry) != 16:
            raise ValueError(f"an entry has 16 octets, not {len(entry)}")
        self._oldest = max(self._oldest, time_ms - self._window_ms)
        bucket = self._buckets.setdefault(_number(entry), bytearray())
        first = self._found(bucket, entry)
        if first is not None:
            return first
        self._drop_old(bucket)
        bucket += _ROW.pack(entry, offset, time_ms)
        return offset

    def _found(self, bucket: bytearray, entry: bytes) -> int | None:
        at = bucket.find(entry)
        while at > 0 and at % _ROW.size:  # the same octets across two fields
            at = bucket.find(entry, at + 1)
        if at < 0:
            return None
        _, offset, time_ms = _ROW.unpack_from(bucket, at)
        return int(offset) if time_ms >= self._oldest else None

    def _drop_old(self, bucket: bytearray) -> None:
        at = 0
        while at < len(bucket) and _ROW.unpack_from(bucket, at)[2] < self._oldest:
            at += _ROW.size
        del bucket[:at]


def _number(entry: bytes) -> int:
    """The bucket of an entry, one of 4096: a few hundred rows each where a partition remembers a million."""
    return entry[0] << 4 | entry[1] >> 4
