"""How records become rows and come back.

A record's row id holds topic, partition and offset, so a partition is one range of the table, in order, and needs no index:

    topic (13 bits) | partition (12 bits) | offset (38 bits)

Topic and partition together are called a slot.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from streams.errors import Fatal, TooLarge
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
        """The number of one of its partitions among all of the file."""
        return self.id << PARTITION_BITS | partition


class Row(NamedTuple):
    """A draft made ready to be stored: all but the offset and the time is decided."""

    slot: int
    carried: bool
    once: bytes | None
    key: bytes | None
    headers: bytes | None
    value: bytes
    digest: bytes | None


cached_partition = lru_cache(maxsize=65536)(murmur2_partition)
"""The keys are mail addresses, which come again and again; the hash in Python costs more than the row."""


def row_of(draft: Draft, topic: Topic, spread: int, largest: int) -> Row:
    """The draft as a row. spread: the partition for drafts with neither key nor partition. largest: bytes that value, key and
    headers may have together. Raises TooLarge, and Fatal for a partition that the topic does not have."""
    partition = draft.partition
    if partition is None:
        partition = spread % topic.partitions if draft.key is None else cached_partition(draft.key, topic.partitions)
    elif not 0 <= partition < topic.partitions:
        raise Fatal(f"topic {topic.name} has no partition {partition}, only 0 to {topic.partitions - 1}")
    headers = encode_headers(draft.headers)
    size = len(draft.value) + len(draft.key or b"") + len(headers or b"")
    if size > largest:
        raise TooLarge(f"a record of {size} bytes for topic {topic.name}: the log takes {largest}")
    return Row(topic.slot(partition), draft.carried, draft.unique, draft.key, headers, draft.value, draft.digest)


def encode_headers(headers: Headers) -> bytes | None:
    """Little-endian 32-bit numbers: how many strings, then the length of each; then the strings, name, value, name, value."""
    if not headers:
        return None
    parts: list[bytes] = []
    for name, value in headers:
        parts.append(name.encode())
        parts.append(value)
    return struct.pack(f"<{len(parts) + 1}I", len(parts), *map(len, parts)) + b"".join(parts)


def decode_headers(blob: bytes | None) -> Headers:
    """The headers that `encode_headers` wrote."""
    if not blob:
        return ()
    count = int.from_bytes(blob[:4], "little")
    at = 4 + 4 * count
    strings: list[bytes] = []
    for length in struct.unpack_from(f"<{count}I", blob, 4):
        end = at + length
        strings.append(blob[at:end])
        at = end
    pairs = iter(strings)
    return tuple((_name(name), value) for name, value in zip(pairs, pairs, strict=True))


@lru_cache(maxsize=1024)
def _name(raw: bytes) -> str:
    """Header names are few, so their strings are shared."""
    return raw.decode()


Stored = tuple[int, int, int, bytes | None, bytes | None, bytes | None, bytes | None]
"""What `SELECTED` brings: id, time, carried, key, headers, value, digest."""

SELECTED = "r.id, r.time, r.carried, r.key, r.headers, coalesce(r.value, c.value), c.digest"
"""The columns of a record `r` and the content `c` that it may refer to."""


def record_of(topic: str, stored: Stored) -> Record:
    """The record in a row of that topic."""
    row, time, carried, key, headers, value, digest = stored
    return Record(
        topic,
        row >> OFFSET_BITS & MAX_PARTITIONS - 1,
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
