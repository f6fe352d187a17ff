"""What a log and its consumers have in common: the writer, the topics, the bells, and the lease."""

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from streams.record import Draft
from streams.sqlite import membership
from streams.sqlite.append import Placed
from streams.sqlite.batches import Pile, pack
from streams.sqlite.reading import Reading
from streams.sqlite.slots import topic_of
from streams.sqlite.tail import Tail, run
from streams.sqlite.worker import Heartbeat, monotonic, new_worker_id
from streams.sqlite.writer import Writer


class Shared:
    """The open file. session: seconds. largest: bytes a record. clock: seconds since 1970."""

    def __init__(self, path: Path, session: float, largest: int, clock: Callable[[], float]) -> None:
        self.path = path
        self.session = session
        self.worker = new_worker_id()
        self._largest = largest
        self._spread = itertools.count()
        self._bells: dict[threading.Event, frozenset[int]] = {}
        self._gate = threading.Lock()
        self._heartbeat: Heartbeat | None = None
        self._clock = clock
        self.tail = Tail()
        self.writer = Writer(path, self.now, self._written)
        self.reading = Reading(path)

    def now(self) -> int:
        """The log's clock: ms since 1970."""
        return int(self._clock() * 1000)

    def pack(self, drafts: Sequence[Draft]) -> list[Pile]:
        """The drafts ready to be stored. Those that leave their partition to us go to one together, the next ones to another.
        Raises TopicMissing, TooLarge, Fatal."""
        return pack(drafts, self.reading.topic, next(self._spread), self._largest)

    def listen(self, bell: threading.Event, topics: Iterable[int]) -> None:
        """Has the bell set whenever this process has written to one of the topics."""
        with self._gate:
            self._bells[bell] = frozenset(topics)

    def unlisten(self, bell: threading.Event) -> None:
        """Ends `listen`."""
        with self._gate:
            self._bells.pop(bell, None)

    def ring(self) -> None:
        """Wakes all consumers of this log."""
        with self._gate:
            for bell in self._bells:
                bell.set()

    def _written(self, placed: Sequence[Placed]) -> None:
        topics = {topic_of(one.pile.slot) for one in placed}
        with self._gate:
            wanted = [(bell, of) for bell, of in self._bells.items() if not of.isdisjoint(topics)]
        ours = frozenset[int]().union(*(of for _, of in wanted))
        self.tail.keep([run(one) for one in placed if topic_of(one.pile.slot) in ours])
        for bell, _ in wanted:
            bell.set()

    def lease(self) -> float:
        """When a lease that begins now ends, on CLOCK_MONOTONIC."""
        return monotonic() + self.session

    def keep_alive(self) -> None:
        """Renews this worker's lease from now on."""
        with self._gate:
            if self._heartbeat is None:
                self._heartbeat = Heartbeat(self.session, self._renew)

    def _renew(self) -> "Future[Any]":
        # The time counts from the moment of writing, not of asking.
        return self.writer.submit(lambda connection: membership.renew(connection, self.worker, self.lease()))

    def close(self) -> None:
        """Finishes what is being written, has others take over what is still owned, and lets go of the file."""
        if self._heartbeat is not None:
            self._heartbeat.close()
            self.writer.submit(lambda connection: membership.retire(connection, self.worker))
        # The writer's connection goes last: it alone can move the write-ahead log into the main file.
        self.reading.close()
        self.writer.close()
