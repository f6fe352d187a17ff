"""How records are numbered, and which partition one goes to.

A record's id holds topic, partition and offset, so a partition is one range of ids, in order:

    topic (13 bits) | partition (12 bits) | offset (38 bits)

Topic and partition together are called a slot.
"""

from typing import NamedTuple

from streams.errors import TopicMissing

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


def ranges(slot: int, start: int, end: int) -> tuple[int, int]:
    """The ids of the offsets from start to end (exclusive) of a slot."""
    base = slot << OFFSET_BITS
    return base + start, base + end
