"""Single records by position, cheaply where positions ascend: one consumer stays open and reads ahead beside who asks."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as At

from streams.errors import TopicMissing, Transient
from streams.kafka.clients import Clients
from streams.kafka.messages import record, take
from streams.kafka.reading import PAGE, STALL_SECONDS
from streams.kafka.topics import Topics
from streams.record import Position, Record, TopicPartition

SKIP = 2_000
"""Reading over so many records is cheaper than to begin anew further on, which takes a round trip and drops what was read ahead."""

TRACKS = 64
"""Partitions that are read ahead at a time."""

AHEAD_BYTES = 32 * 1024 * 1024
"""What may be kept of records that were read ahead and not asked for yet."""


@dataclass(slots=True)
class Track:
    """One partition as it is read. kept: records read and not asked for yet, ascending. next: everything below was read. end: nothing
    from there on was committed when we last looked."""

    next: int
    end: int
    kept: deque[Record] = field(default_factory=deque)
    size: int = 0

    def keep(self, found: Record) -> None:
        """Puts a record by."""
        self.kept.append(found)
        self.size += len(found.value)

    def pick(self, offset: int) -> Record | None:
        """Takes a record from those put by, and drops those before it."""
        while self.kept and self.kept[0].offset <= offset:
            found = self.kept.popleft()
            self.size -= len(found.value)
            if found.offset == offset:
                return found
        return None


class Fetcher:
    """Fetches records. log: the cluster's id; positions of other logs bring None."""

    def __init__(self, clients: Clients, topics: Topics, log: str) -> None:
        self._clients = clients
        self._topics = topics
        self._log = log
        self._lock = Lock()
        self._consumer: Consumer | None = None
        self._tracks: dict[TopicPartition, Track] = {}  # the least recently used first

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `Reader.fetch`. Thread-safe."""
        with self._lock:
            try:
                return self._fetch(positions)
            except BaseException:
                # What the client handed over and was not noted does not come again, and would look as if nothing stood there.
                with suppress(Exception):
                    self.close()
                raise

    def _fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        wanted: dict[TopicPartition, set[int]] = {}
        for position in positions:
            if position.log == self._log and self._exists(position.topic, position.partition):
                wanted.setdefault(TopicPartition(position.topic, position.partition), set()).add(position.offset)
        found: dict[tuple[str, int, int], Record] = {}
        queues = {at: deque(sorted(offsets)) for at, offsets in wanted.items()}
        self._aim(queues)
        self._read({at: queue for at, queue in queues.items() if queue}, found)
        self._trim()
        return [found.get((p.topic, p.partition, p.offset)) if p.log == self._log else None for p in positions]

    def close(self) -> None:
        """Lets go of the connection."""
        consumer, self._consumer = self._consumer, None
        self._tracks.clear()
        if consumer is not None:
            consumer.close()

    def _exists(self, topic: str, partition: int) -> bool:
        try:
            return 0 <= partition < self._topics.partitions(topic)
        except TopicMissing:
            return False

    def _aim(self, queues: Mapping[TopicPartition, deque[int]]) -> None:
        """Has every partition read from where its first wanted offset can still come, and strikes out what cannot be there."""
        unsure = [
            at for at, queue in queues.items() if at not in self._tracks or queue[-1] >= self._tracks[at].end or self._misses(at, queue[0])
        ]
        bounds = self._topics.bounds([At(*at) for at in unsure])
        starts: dict[TopicPartition, int] = {}
        for at in unsure:
            first, end = bounds[at]
            queue = queues[at]
            while queue and queue[0] < first:
                queue.popleft()
            while queue and queue[-1] >= end:
                queue.pop()
            if at in self._tracks:
                self._tracks[at].end = end
            if queue and (at not in self._tracks or self._misses(at, queue[0])):
                starts[at] = queue[0]
        self._assign(starts, {at: bounds[at].end for at in starts})
        for at in queues.keys() & self._tracks.keys():
            self._tracks[at] = self._tracks.pop(at)

    def _misses(self, at: TopicPartition, offset: int) -> bool:
        """Whether reading on would not come by this offset, or only after long."""
        track = self._tracks[at]
        oldest = track.kept[0].offset if track.kept else track.next
        return offset < oldest or offset > track.next + SKIP

    def _assign(self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        if not starts:
            return
        self._forget([at for at in starts if at in self._tracks])
        with self._clients.border("fetching records"):
            if self._consumer is None:
                self._consumer = self._clients.reader(wait_ms=200)
            self._consumer.incremental_assign([At(*at, offset) for at, offset in starts.items()])
        self._tracks.update({at: Track(offset, ends[at]) for at, offset in starts.items()})

    def _read(self, queues: dict[TopicPartition, deque[int]], found: dict[tuple[str, int, int], Record]) -> None:
        """Reads until every wanted offset was either met or passed."""
        for at in list(queues):
            self._settle(at, queues, found)
        moved = time.monotonic()
        while queues:
            for message in self._page():
                moved = time.monotonic()
                self._note(message, queues)
            for at in list(queues):
                self._settle(at, queues, found)
            if time.monotonic() - moved > STALL_SECONDS:
                raise Transient(f"fetching records: nothing came from {self._clients.bootstrap} for {STALL_SECONDS:.0f} s")

    def _page(self) -> list[Message]:
        """What the client has. Nobody keeps it once it is noted: the next page would stand in memory beside it."""
        assert self._consumer is not None
        with self._clients.border("fetching records"):
            return take(self._consumer, PAGE, 1.0)

    def _note(self, message: Message, queues: dict[TopicPartition, deque[int]]) -> None:
        """Puts a record by, or takes note of how far there is nothing."""
        at = TopicPartition(message.topic(), message.partition())  # type: ignore[arg-type]  # None only beside an error of no partition
        track, error, offset = self._tracks.get(at), message.error(), message.offset()
        if track is None:
            return
        if error is None:
            found = record(message)
            track.next = found.offset + 1
            track.keep(found)
        elif error.code() == KafkaError._PARTITION_EOF and offset is not None:
            track.next = max(track.next, offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            # Retention took the place between our looking and our reading. Look again.
            self._forget([at])
            if at in queues:
                self._aim({at: queues[at]})
        else:
            raise self._clients.error(KafkaException(error), f"fetching from {at.topic}[{at.partition}]")

    def _settle(self, at: TopicPartition, queues: dict[TopicPartition, deque[int]], found: dict[tuple[str, int, int], Record]) -> None:
        """Hands out what was met of a partition's wanted offsets, and forgets those that were passed."""
        queue, track = queues[at], self._tracks.get(at)
        while queue and track is not None and queue[0] < track.next:
            offset = queue.popleft()
            picked = track.pick(offset)
            if picked is not None:
                found[at.topic, at.partition, offset] = picked
        if not queue:
            del queues[at]

    def _trim(self) -> None:
        """Forgets what was not asked for lately, when too much is kept."""
        excess = len(self._tracks) - TRACKS
        size = sum(track.size for track in self._tracks.values())
        gone: list[TopicPartition] = []
        for at, track in self._tracks.items():
            if excess <= len(gone) and size <= AHEAD_BYTES:
                break
            gone.append(at)
            size -= track.size
        self._forget(gone)

    def _forget(self, ats: Sequence[TopicPartition]) -> None:
        if ats and self._consumer is not None:
            with self._clients.border("fetching records"):
                self._consumer.incremental_unassign([At(*at) for at in ats])
        for at in ats:
            del self._tracks[at]
