"""From bytes and envelope to a durable record: the one door to mail.raw. Who says yes to a sender says it after `accept`."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple, Protocol

from postroom.archive import ArchiveFull
from postroom.ingest.reading import Kept
from postroom.ingest.room import Room
from streams.errors import Full, LogError, TooLarge, Transient
from streams.faults import Hold
from streams.log import Log
from streams.record import Appended, Draft
from topology import envelope
from topology.facts import MAX_RECIPIENTS, Envelope
from topology.head import HeadReader
from topology.records import Topics, raw_draft

_SIDE_BY_SIDE = 8
"""Large mails that go to the archive at the same time."""


class Arrival(NamedTuple):
    """One hand-over, as it goes into the log."""

    envelope: Envelope
    raw: bytes


class OwnedArchive(Protocol):
    """What ingest asks of `postroom.archive.ObjectArchive`."""

    def put(self, data: bytes, digest: str, owner: str = "") -> str: ...


class Acceptor:
    """Makes mails durable. Thread-safe; threads that call at once share the log's transaction where the engine can."""

    def __init__(
        self,
        log: Log,
        topics: Topics,
        archive: OwnedArchive,
        *,
        inline_limit: int,
        max_size: int,
        room: Room,
        reader: HeadReader | None = None,
    ) -> None:
        """inline_limit (`archive.inline_limit`): octets above which a mail goes to the archive. max_size (`ingest.max_size`): octets
        above which the listeners refuse and the other ways keep the beginning only."""
        self._log = log
        self._topics = topics
        self._archive = archive
        self._inline_limit = inline_limit
        self.max_size = max_size
        self.room = room
        self._reader = reader or HeadReader()
        self._putters: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def arrivals(
        self, mail: Kept, *, sender: str | None, recipients: Sequence[str], via: str, received_ms: int | None = None, otherwise_ms: int = 0
    ) -> list[Arrival]:
        """The hand-overs of one mail: one for each 100 recipients, as no record has more. sender: see `topology.envelope.build`.
        received_ms: when it was received, or None to ask the mail's topmost Received field, and `otherwise_ms` where that says
        nothing. Never raises, whatever the bytes are."""
        head = self._reader.read(mail.raw)
        if received_ms is None:
            told = envelope.received_ms(head)
            received_ms = otherwise_ms if told is None else told
        parts = [recipients[at : at + MAX_RECIPIENTS] for at in range(0, len(recipients), MAX_RECIPIENTS)] or [()]
        first = envelope.build(
            head,
            sender=sender,
            recipients=parts[0],
            received_ms=received_ms,
            via=via,
            size=mail.size,
            digest=mail.digest,
            truncated=mail.truncated,
        )
        others = (replace(first, recipients=envelope.recipients_of(part)) for part in parts[1:])
        return [Arrival(part, mail.raw) for part in (first, *others)]

    def accept(self, batch: Sequence[Arrival]) -> list[Appended]:
        """Makes them durable, all or none, in one transaction, large ones in the archive first; returns when they are. Raises
        Transient (log or archive is away), Full (no room), TooLarge (one of them will never fit the topic) or Fatal."""
        self.room.check()
        return self._log.append(self._drafts([_arrival(stored) for stored in self._store(batch)]))

    def accept_each(self, batch: Sequence[Arrival]) -> list[Appended | LogError]:
        """As `accept`, but each stands for itself: what came of each, in their order. Those that the archive or the topic does not
        take fail alone; when there is no room or the log is away, all do."""
        try:
            self.room.check()
        except Full as error:
            return [error] * len(batch)
        stored = self._store(batch)
        appended = iter(self._append([arrival for arrival in stored if isinstance(arrival, Arrival)]))
        return [next(appended) if isinstance(arrival, Arrival) else arrival for arrival in stored]

    def close(self) -> None:
        """Lets the archive's threads go."""
        if self._putters:
            self._putters.shutdown()

    def _append(self, batch: Sequence[Arrival]) -> list[Appended | LogError]:
        if not batch:
            return []
        try:
            return [*self._log.append(self._drafts(batch))]
        except TooLarge as error:
            if len(batch) == 1:
                return [error]
            middle = len(batch) // 2
            return self._append(batch[:middle]) + self._append(batch[middle:])
        except LogError as error:
            return [error] * len(batch)

    def _drafts(self, batch: Sequence[Arrival]) -> list[Draft]:
        return [raw_draft(self._topics, found, raw) for found, raw in batch]

    def _store(self, batch: Sequence[Arrival]) -> Sequence[Arrival | LogError]:
        """With the large ones in the archive, and their records' values empty; or why the archive did not take them."""
        large = [arrival for arrival in batch if len(arrival.raw) > self._inline_limit]
        if not large:
            return batch
        stored = iter([self._put(large[0])] if len(large) == 1 else self._pool().map(self._put, large))
        return [next(stored) if len(arrival.raw) > self._inline_limit else arrival for arrival in batch]

    def _put(self, arrival: Arrival) -> Arrival | LogError:
        found, raw = arrival
        digest = sha256(raw).hexdigest() if found.truncated else found.digest
        try:
            return Arrival(replace(found, archived=self._archive.put(raw, digest, found.mail_id)), b"")
        except ArchiveFull as error:
            return Full(str(error))
        except Hold as error:
            return Transient(str(error))

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._putters is None:
                self._putters = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="archive")
            return self._putters


def _arrival(stored: Arrival | LogError) -> Arrival:
    if isinstance(stored, LogError):
        raise stored
    return stored
