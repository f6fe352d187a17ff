"""What the client handed over and nobody asked for yet, partition by partition.

The client brings a partition's records in blocks of a megabyte. Taking them from here in turn gives every partition its share of each
batch, so that one that is far behind does not keep the others waiting.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, Message

from streams.kafka.messages import unless_carried
from streams.log import Batch
from streams.record import Record, TopicPartition

AHEAD = 4_000
"""Messages that are taken from the client for a batch and those after it, at most. It holds more, in its own memory."""

BYTES = 8 * 1024 * 1024
"""What is taken from the client ahead, and what goes into a batch: large mails must fill neither the memory nor a transaction's time."""


class Inbox:
    """The partitions that are read. paused: those of which nothing is handed out."""

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()
        self._next: dict[TopicPartition, int] = {}
        self._queues: dict[TopicPartition, deque[Message]] = {}
        self._sizes: dict[TopicPartition, int] = {}
        self._turn = 0

    def __contains__(self, at: TopicPartition) -> bool:
        return at in self._next

    def next(self, at: TopicPartition) -> int | None:
        """The offset to be handed out next; None for a partition that is not read."""
        return self._next.get(at)

    def partitions(self, numbers: Iterable[int]) -> list[TopicPartition]:
        """Those that are read, of these numbers."""
        wanted = frozenset(numbers)
        return [at for at in self._next if at.partition in wanted]

    def start(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Partitions are read from here on."""
        self._next.update(offsets)
        self._queues.update({at: deque() for at in offsets})
        self._sizes.update(dict.fromkeys(offsets, 0))

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions are read no more, and no longer paused either."""
        for at in partitions:
            del self._next[at]
            del self._queues[at]
            del self._sizes[at]
            self.paused.discard(at)

    def room(self, limit: int) -> int:
        """How many messages more to take from the client for a batch of that limit, and for what follows; 1 at least, because the
        client is to be called in any case."""
        ready = self._ready()
        count = sum(len(self._queues[at]) for at in ready)
        full = sum(self._sizes[at] for at in ready) >= BYTES
        return 1 if full else max(1, max(limit, AHEAD) - count)

    def _ready(self) -> list[TopicPartition]:
        """The partitions of which there is something to hand out."""
        return [at for at, queue in self._queues.items() if queue and at not in self.paused]

    def holds(self, at: TopicPartition) -> bool:
        """Whether there is something of a partition that was not handed out."""
        return bool(self._queues.get(at))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to hand out."""
        return not self._ready()

    def put(self, messages: Iterable[Message]) -> list[tuple[TopicPartition, KafkaError]]:
        """Takes messages in; those of partitions that were given up meanwhile are dropped. Returns the errors among them."""
        errors: list[tuple[TopicPartition, KafkaError]] = []
        queues, sizes = self._queues, self._sizes
        for message in messages:
            at: Any = (message.topic(), message.partition())  # passes for a TopicPartition, and is made in a third of the time
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                errors.append((TopicPartition(*at), error))
            elif (queue := queues.get(at)) is not None:
                queue.append(message)
                sizes[at] += len(message)
        return errors

    def take(self, limit: int) -> Batch:
        """A batch. Every partition that has messages gets an equal part, and what one leaves goes to the next; where the limit is
        smaller than their number, they take turns."""
        filled = self._ready()
        start = self._turn % len(filled) if filled else 0
        self._turn += 1
        records: list[Record] = []
        positions: dict[TopicPartition, int] = {}
        left, room = limit, BYTES
        for taken, at in enumerate(filled[start:] + filled[:start]):
            share = -(-left // (len(filled) - taken))
            if share <= 0 or room <= 0:
                break
            before, size = self._next[at], self._sizes[at]
            left -= self._hand_out(at, share, room, records)
            room -= size - self._sizes[at]
            if self._next[at] != before:
                positions[at] = self._next[at]
        return Batch(records, positions)

    def _hand_out(self, at: TopicPartition, share: int, room: int, records: list[Record]) -> int:
        """Moves up to so many messages of a partition on, or until the room (bytes) is used up; returns how many. Carried records are
        passed over, and at the end of the partition so is what transactions leave between records."""
        queue, position, size = self._queues[at], self._next[at], 0
        count = min(share, len(queue))
        for done in range(count):
            if size >= room:
                count = done
                break
            message: Any = queue.popleft()  # the client's types allow None for the offset
            size += len(message)
            if message.error() is not None:
                position = max(position, message.offset())
                continue
            position = message.offset() + 1
            if (record := unless_carried(message)) is not None:
                records.append(record)
        self._next[at] = position
        self._sizes[at] -= size
        return count
