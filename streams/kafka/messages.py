"""Our records as the client's messages, and back."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from streams.record import CARRIED, Draft, Headers, Record

DIGEST = "pr_digest"
"""The Kafka header behind `Draft.digest`. What a foreign producer puts there is its own claim."""

_NOBODY = -1
"""PARTITION_UA: the partitioner chooses."""


def produce(producer: Producer, draft: Draft, report: Callable[[KafkaError | None, Message], None] | None = None, time_ms: int = 0) -> None:
    """Hands a draft to a producer, which sends it in the background. report: called by the producer's `poll` with what became of it.
    time_ms: for topics that keep a producer's time; 0 for now. Waits while the producer's queue is full. Raises KafkaException for what the
    client itself sees to be wrong."""
    topic, key, value, ours, partition, carried, digest, _ = draft
    headers: list[tuple[str, str | bytes | None]] = list(ours)
    if carried:
        headers.append(_MARK)
    if digest is not None:
        headers.append((DIGEST, digest))
    while True:
        try:
            producer.produce(
                topic, value, key, _NOBODY if partition is None else partition, on_delivery=report, timestamp=time_ms, headers=headers
            )
        except BufferError:
            producer.poll(0.05)
        else:
            return


_MARK = (CARRIED, b"1")


def record(message: Message) -> Record:
    """The record of a message that carries no error. A foreign one without key, value or header values reads as None, b"" and b""."""
    return _record(message, message.headers())  # type: ignore[arg-type]  # the client types allow what never comes


def unless_carried(message: Message) -> Record | None:
    """The record, or None where its next step was written along with it."""
    headers: Any = message.headers()
    if headers and headers[-1] == _MARK:  # the last one, as we write it
        return None
    found = _record(message, headers)
    return None if found.carried else found


def _record(message: Message, headers: list[tuple[str, bytes | None]] | None) -> Record:
    read: Any = message  # The client's types allow None for what only a message with an error lacks.
    kind, time = message.timestamp()
    carried, digest, ours = _headers(headers) if headers else _NO_HEADERS
    value = message.value() or b""
    # As Record(…) does it, without a call of Python's own for each of them.
    return tuple.__new__(
        Record, (read.topic(), read.partition(), read.offset(), time if kind else 0, read.key(), value, ours, carried, digest)
    )


def bare(message: Message) -> Record:
    """The record without its value and digest, which the client brings all the same."""
    return record(message)._replace(value=b"", digest=None)


_NO_HEADERS: tuple[bool, bytes | None, Headers] = (False, None, ())


def _headers(headers: list[tuple[str, bytes | None]]) -> tuple[bool, bytes | None, Headers]:
    """Takes what the engine keeps out of a message's headers: carried, digest, and the rest."""
    carried, digest = False, None
    ours: list[tuple[str, bytes]] = []
    for name, value in headers:
        if name == CARRIED:
            carried = value == b"1"
        elif name == DIGEST:
            digest = value
        else:
            ours.append((name, b"" if value is None else value))
    return carried, digest, tuple(ours)


def take(consumer: Consumer, limit: int, timeout: float) -> list[Message]:
    """Up to `limit` messages, as soon as there is one: `consume` alone would wait for all of them until its time is up."""
    messages = consumer.consume(limit, 0)
    if messages or timeout <= 0:
        return messages
    first = consumer.poll(timeout)
    if first is None:
        return []
    try:
        return [first, *consumer.consume(limit - 1, 0)] if limit > 1 else [first]
    except KafkaException:
        return [first]  # It is ours already. What is wrong, the next call will say again.
