"""Appends handlers' words to mail.said, as many at a time as have come together, and tells when they are durable."""

import asyncio
import logging

from streams.errors import Fatal, LogError, TooLarge, Transient
from streams.faults import Hold
from streams.log import Log
from streams.record import Draft
from topology.ports import Archive
from topology.replies.stow import stowed

log = logging.getLogger("postroom.run")

MOST = 500
"""Words in one append."""


class Teller:
    """inline_limit: octets above which a word (a reply with attachments) goes to the archive. backoff: seconds between tries while log
    or archive are away."""

    def __init__(self, event_log: Log, archive: Archive, inline_limit: int, backoff: float = 0.5) -> None:
        self.away = False
        """Whether words wait, because the log is away."""
        self._log = event_log
        self._archive = archive
        self._inline_limit = inline_limit
        self._backoff = backoff
        self._queue: list[tuple[Draft, asyncio.Future[None]]] = []
        self._appending: asyncio.Task[None] | None = None

    async def tell(self, draft: Draft) -> None:
        """Returns when the word is durable, however long log or archive are away: the handler is not to be called again for that.
        Raises Fatal."""
        if len(draft.value) > self._inline_limit:
            draft = await self._stowed(draft)
        done = asyncio.get_running_loop().create_future()
        self._queue.append((draft, done))
        if self._appending is None:
            self._appending = asyncio.create_task(self._append_all())
        await done

    async def _stowed(self, draft: Draft) -> Draft:
        while True:
            try:
                return await asyncio.to_thread(stowed, draft, self._archive, self._inline_limit)
            except Hold as hold:
                log.warning("a handler's word for %s waits, because %s", draft.topic, hold)
                await asyncio.sleep(hold.probe_after)

    async def _append_all(self) -> None:
        try:
            while self._queue:
                words, self._queue = self._queue[:MOST], self._queue[MOST:]
                fault = await self._append([draft for draft, _ in words])
                for _, done in words:
                    if not done.done():  # else nobody waits for it any more
                        done.set_exception(fault) if fault else done.set_result(None)
        finally:
            self._appending = None

    async def _append(self, drafts: list[Draft]) -> LogError | None:
        while True:
            try:
                await asyncio.to_thread(self._log.append, drafts)
                self.away = False
            except Transient as error:
                self.away = True
                log.warning("handlers' words wait, because the log is away: %s", error)
                await asyncio.sleep(self._backoff)
            except TooLarge as error:
                return Fatal(f"a handler's word is larger than its topic takes: {error}; see `postroom check`")
            except LogError as error:
                return error
            else:
                return None
