"""How records become rows and come back.

A record's row id holds topic, partition and offset, so a partition is one range of the table, in order, and needs no index:

    topic (13 bits) | partition (12 bits) | offset (38 bits)

Topic and partition together are called a slot.
"""

import json
import struct
from functools import lru_cache
from typing import NamedTuple

from streams.errors import TooLarge, TopicMissing
from streams.record import Draft, Headers, Record, murmur2_partition

OFFSET_BITS = 38
PARTITION_BITS = 12
MAX_TOPICS = 1 << 13
MAX_PARTITIONS = 1 << PARTITION_BITS
MAX_OFFSET = (1 << OFFSET_BITS) - 1


class Topic(NamedTuple):
    """A topic as the file knows it."""

    id: int
    name: str
    partitions: int

    def slot(self, partition: int) -> int:
        """The number of one of its partitions among all of the file. Raises TopicMissing."""
        if not 0 <= partition < self.partitions:
            raise TopicMissing(f"topic {self.name} has no partition {partition}, only 0 to {self.partitions - 1}")
        return self.id << PARTITION_BITS | partition


def topic_of(slot: int) -> int:
    """The topic's id in a slot."""
    return slot >> PARTITION_BITS


def partition_of(slot: int) -> int:
    """The partition in a slot."""
    return slot & MAX_PARTITIONS - 1


class Row(NamedTuple):
    """A draft made ready to be stored: all but the offset and the time is decided."""

    slot: int
    carried: bool
    once: bytes | None
    key: bytes | None
    headers: bytes | None
    value: bytes
    digest: bytes | None


cached_partition = lru_cache(maxsize=16384)(murmur2_partition)
"""Most keys are mail addresses, which come again and again; the hash in Python costs more than the row. Outcomes have mail ids, which do
not, so that the cache is soon as large as it may be: some 4 MiB."""


def row_of(draft: Draft, topic: Topic, spread: int, largest: int) -> Row:
    """The draft as a row. spread: the partition for drafts with neither key nor partition. largest: bytes that value, key and
    headers may have together. Raises TooLarge, and TopicMissing for a partition that the topic does not have."""
    _, key, value, headers, partition, carried, digest, unique = draft
    if partition is None:
        partition = spread % topic.partitions if key is None else cached_partition(key, topic.partitions)
    packed = encode_headers(headers)
    size = len(value) + (len(key) if key else 0) + (len(packed) if packed else 0)
    if size > largest:
        raise TooLarge(f"a record of {size} bytes for topic {topic.name}: the log takes {largest}")
    return Row(topic.slot(partition), carried, unique, key, packed, value, digest)


class _Shape(NamedTuple):
    """A sequence of header names, and how headers of these names are packed. Records of one kind have the same names in the same
    order, so there are few shapes, and each is worked out once."""

    names: tuple[str, ...]
    prefix: bytes
    lengths: struct.Struct


@lru_cache(maxsize=1024)
def _shape_of(names: tuple[str, ...]) -> _Shape:
    listed = json.dumps(names, separators=(",", ":")).encode("ascii")
    return _Shape(names, struct.pack("<I", len(listed)) + listed, struct.Struct(f"<{len(names)}I"))


@lru_cache(maxsize=1024)
def _shape_in(listed: bytes) -> _Shape:
    return _shape_of(tuple(json.loads(listed)))


def encode_headers(headers: Headers) -> bytes | None:
    """The headers as bytes: the length of what follows, the names as a JSON list, the length of each value, the values. Lengths are
    32-bit numbers, little-endian."""
    if not headers:
        return None
    names, values = zip(*headers, strict=True)
    shape = _shape_of(names)
    return shape.prefix + shape.lengths.pack(*map(len, values)) + b"".join(values)


def decode_headers(blob: bytes | None) -> Headers:
    """The headers that `encode_headers` wrote."""
    if not blob:
        return ()
    at = 4 + int.from_bytes(blob[:4], "little")
    names, _, lengths = _shape_in(blob[4:at])
    end = at + lengths.size
    values: list[bytes] = []
    for length in lengths.unpack_from(blob, at):
        at, end = end, end + length
        values.append(blob[at:end])
    return tuple(zip(names, values, strict=True))


Stored = tuple[int, int, int, bytes | None, bytes | None, bytes | None, bytes | None]
"""What `SELECTED` brings: id, time, carried, key, headers, value, digest."""

SELECTED = "r.id, r.time, r.carried, r.key, r.headers, coalesce(r.value, c.value), c.digest"
"""The columns of a record `r` and the content `c` that it may refer to."""

WITHOUT_VALUE = "r.id, r.time, r.carried, r.key, r.headers, NULL, NULL"
"""The same without value and digest."""


def record_of(topic: str, stored: Stored) -> Record:
    """The record in a row of that topic."""
    row, time, carried, key, headers, value, digest = stored
    return Record(
        topic,
        partition_of(row >> OFFSET_BITS),
        row & MAX_OFFSET,
        time,
        key,
        value or b"",
        decode_headers(headers),
        bool(carried),
        digest,
    )


def ranges(slot: int, start: int, end: int) -> tuple[int, int]:
    """The row ids of the offsets from start to end (exclusive) of a slot."""
    base = slot << OFFSET_BITS
    return base + start, base + end
