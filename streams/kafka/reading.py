"""Reads a partition from one offset to another, without a group."""

import time
from collections.abc import Iterator

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as At

from streams.errors import Transient
from streams.kafka.clients import Clients
from streams.kafka.messages import bare, record, take
from streams.kafka.settings import CALL_SECONDS
from streams.kafka.topics import Topics
from streams.record import Record

PAGE = 1_000
STALL_SECONDS = 15.0
"""How long a read waits for what is known to be there."""


def read(
    clients: Clients,
    topics: Topics,
    topic: str,
    partitions: range,
    *,
    start: int | None,
    end: int | None,
    since: int | None,
    until: int | None,
    values: bool,
) -> Iterator[Record]:
    """See `Reader.read`; partitions: which, one after another."""
    consumer = clients.reader(wait_ms=10)
    try:
        for partition in partitions:
            at = At(topic, partition)
            first, last = topics.bounds([at])[topic, partition]
            low, high = max(first, start or 0), last if end is None else min(last, end)
            if since is not None:
                low = max(low, _offset_at(clients, consumer, at, since, last))
            if until is not None:
                high = min(high, _offset_at(clients, consumer, at, until, last))
            if low < high:
                yield from _between(clients, topics, consumer, at, low, high, values=values)
    finally:
        consumer.close()


def _offset_at(clients: Clients, consumer: Consumer, at: At, time_ms: int, last: int) -> int:
    """The offset of the first record appended at that time or later; `last` where there is none."""
    with clients.border(f"looking up a time in topic {at.topic}"):
        (found,) = consumer.offsets_for_times([At(at.topic, at.partition, time_ms)], timeout=CALL_SECONDS)
        if found.error is not None:
            raise KafkaException(found.error)
        if found.offset < 0 and found.offset != OFFSET_END:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return last if found.offset == OFFSET_END else found.offset


def _between(clients: Clients, topics: Topics, consumer: Consumer, at: At, low: int, high: int, *, values: bool) -> Iterator[Record]:
    """The records from low up to high, without what retention takes meanwhile. Offsets have gaps, where transactions were marked or
    aborted; so the reading ends with the first record beyond, or where the client says that nothing more is there."""
    doing = f"reading {at.topic}[{at.partition}] from {low}"
    with clients.border(doing):
        consumer.assign([At(at.topic, at.partition, low)])
    moved = time.monotonic()
    while True:
        # Nothing here keeps a page once it is read: the next one would stand in memory beside it.
        for message in _page(clients, consumer, doing):
            moved = time.monotonic()
            error, offset = message.error(), message.offset()
            if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:
                first, _ = topics.bounds([at])[at.topic, at.partition]
                if first >= high:
                    return
                with clients.border(doing):
                    consumer.assign([At(at.topic, at.partition, first)])
                break
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise clients.error(KafkaException(error), doing)
            if offset is not None and offset >= high:
                return
            if error is None:
                yield record(message) if values else bare(message)
                if offset == high - 1:
                    return
        if time.monotonic() - moved > STALL_SECONDS:
            raise Transient(f"{doing}: nothing came from {clients.bootstrap} for {STALL_SECONDS:.0f} s")


def _page(clients: Clients, consumer: Consumer, doing: str) -> list[Message]:
    with clients.border(doing):
        return take(consumer, PAGE, 1.0)
