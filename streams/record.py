"""Records: what a log stores. A `Draft` is to be written; a `Record` has been.

Both are NamedTuples and not dataclasses, because one is built for every topic that a mail passes and a frozen dataclass
with slots costs three times as much to build.
"""

import struct
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]
"""Header names and values in order. Names are ASCII; `pr_carried` is kept by the engines and never stands among them."""

CARRIED = "pr_carried"
"""The Kafka header behind `Draft.carried` (its value is b"1")."""


class TopicPartition(NamedTuple):
    """One partition of one topic. Topic names are the full ones, prefix included."""

    topic: str
    partition: int


class Position(NamedTuple):
    """Where a stored record stands: the log's id, the topic, the partition, and the offset counted from 0 in it."""

    log: str
    topic: str
    partition: int
    offset: int


class Draft(NamedTuple):
    """A record to be written.

    topic: the full name. key: what decides the partition (murmur2_random, as Java's client has it) unless `partition`
    says it; None spreads. value: the bytes. headers: in order.
    carried: the next step of this record is written in the same transaction, so groups pass over it.
    digest: the SHA-256 of `value`, given where the same bytes are written to several topics: an engine that can then
    stores them once. unique: an id under which the log takes the record once only, where the engine can (SQLite); the
    record is known by (topic, unique).
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
    partition: int | None = None
    carried: bool = False
    digest: bytes | None = None
    unique: bytes | None = None


class Record(NamedTuple):
    """A stored record. time: when the log appended it, in milliseconds since 1970 UTC (LogAppendTime)."""

    topic: str
    partition: int
    offset: int
    time: int
    key: bytes | None
    value: bytes
    headers: Headers = ()
    carried: bool = False
    digest: bytes | None = None

    @property
    def at(self) -> TopicPartition:
        """The partition that the record stands in."""
        return TopicPartition(self.topic, self.partition)

    def header(self, name: str) -> bytes | None:
        """The value of the first header of that name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


def places(records: Iterable[Record]) -> set[TopicPartition]:
    """The partitions that some records stand in. A tuple of a topic and a partition passes for a TopicPartition; of the thousand records
    of a batch that all stand in a few, we make those few."""
    return {TopicPartition(*at) for at in set(map(_PLACE, records))}


_PLACE = itemgetter(0, 1)


class Appended(NamedTuple):
    """What became of an appended draft. repeat: the log had it already under its `unique` id, and `position` is that of the
    first; None where the engine cannot know (Kafka)."""

    position: Position
    repeat: bool | None


def murmur2_partition(key: bytes, partitions: int) -> int:
    """The partition of a key, as Java's default partitioner and librdkafka's murmur2_random choose it.

    key: the bytes, not None. partitions: their number, above 0. Returns 0 to partitions - 1. Source: Apache Kafka,
    org.apache.kafka.common.utils.Utils.murmur2 (a 32-bit MurmurHash2, seed 0x9747b28c) and toPositive.
    """
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(key)
    h = 0x9747B28C ^ length
    for word in struct.unpack_from(f"<{length >> 2}I", key):
        k = word * m & mask
        h = (h * m ^ (k ^ k >> 24) * m) & mask
    if rest := length & 3:
        h = (h ^ int.from_bytes(key[length - rest :], "little")) * m & mask
    h ^= h >> 13
    h = h * m & mask
    h ^= h >> 15
    return (h & 0x7FFFFFFF) % partitions
