"""What many connections hand over at one time becomes durable in one transaction."""

import asyncio
import logging
import threading
import time
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import NamedTuple

from postroom.ingest.accept import Acceptor, Arrival
from postroom.ingest.reading import Kept
from streams.errors import LogError, Transient

_MOST = 256
_MOST_OCTETS = 16 << 20
"""What one transaction takes at most, so that the first to wait is not kept by all who come later."""
_log = logging.getLogger("postroom.ingest")

Stored = str | LogError
"""The mail id of a mail that is durable, or why it is not."""


class _Waiting(NamedTuple):
    """A mail in hand, and who waits for its answer."""

    raw: bytes
    sender: str
    recipients: list[str]
    via: str
    answer: "asyncio.Future[Stored]"


class Appender:
    """A thread that takes what waits, all of it, stores it, and answers; while the disk works on one transaction the next one
    gathers. It also does the work on a mail that would keep the event loop from its other connections."""

    def __init__(self, acceptor: Acceptor, loop: asyncio.AbstractEventLoop) -> None:
        self._acceptor = acceptor
        self._loop = loop
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ingest-append", daemon=True)
        self._thread.start()

    def submit(self, raw: bytes, sender: str, recipients: list[str], via: str) -> "asyncio.Future[Stored]":
        """Hands a mail over; called in the event loop. The future's result comes when the mail is durable or is known not to be;
        it may be cancelled, which does not take the mail back."""
        answer: asyncio.Future[Stored] = self._loop.create_future()
        self._queue.put(_Waiting(raw, sender, recipients, via, answer))
        return answer

    def close(self) -> None:
        """Stores and answers what was submitted, then ends the thread. Not to be called in the event loop."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        going = True
        while going:
            first = self._queue.get()
            going = first is not None
            if first is not None:
                batch, going = self._gather(first)
                self._loop.call_soon_threadsafe(_answer, batch, self._store(batch))

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """What waits now, and whether there may be more later."""
        batch, octets = [first], len(first.raw)
        while len(batch) < _MOST and octets < _MOST_OCTETS:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return batch, False
            batch.append(waiting)
            octets += len(waiting.raw)
        return batch, True

    def _store(self, batch: list[_Waiting]) -> list[Stored]:
        now = int(time.time() * 1000)
        try:
            arrivals = [self._arrival(waiting, now) for waiting in batch]
            results = self._acceptor.accept_each(arrivals)
        except Exception:  # noqa: BLE001 - a fault of ours: the mail servers keep their mails
            _log.exception("storing %d mails failed; the mail servers were asked to try again later", len(batch))
            return [Transient("internal fault")] * len(batch)
        failed = [result for result in results if isinstance(result, LogError)]
        for why, count in {str(error): sum(str(other) == str(error) for other in failed) for error in failed}.items():
            _log.error("%d mails were not stored: %s", count, why)
        return [
            result if isinstance(result, LogError) else arrival.envelope.mail_id for arrival, result in zip(arrivals, results, strict=True)
        ]

    def _arrival(self, waiting: _Waiting, now: int) -> Arrival:
        mail = Kept(waiting.raw, len(waiting.raw), sha256(waiting.raw).hexdigest(), False)
        (arrival,) = self._acceptor.arrivals(
            mail, sender=waiting.sender, recipients=waiting.recipients, via=waiting.via, received_ms=now
        )  # one, as a connection gives at most 100 recipients
        return arrival


def _answer(batch: list[_Waiting], results: list[Stored]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if not waiting.answer.done():  # the connection may be gone
            waiting.answer.set_result(result)
