"""What a handler on Faust waits for: a whole part that is away, or an end to failing on everybody alike (`handlers.breaker`)."""

import asyncio
import logging
import time
from contextlib import suppress

from handlers.breaker import Breaker
from handlers.word import Word
from streams.faults import Hold

log = logging.getLogger("postroom.handlers")


class Holding:
    """While `part` is one, a single delivery is tried at a time."""

    def __init__(self, handler: str, breaker: Breaker) -> None:
        self.part: Hold | None = None
        """What is waited for, or None."""
        self._handler = handler
        self._breaker = breaker
        self._retry_at = 0.0

    def begins(self, hold: Hold) -> None:
        """A part is away, or still is."""
        if self.part is None:
            log.error("handler %s: waits, because %s", self._handler, hold)
        self.part, self._retry_at = hold, time.monotonic() + hold.probe_after

    async def wait(self, stop: asyncio.Event) -> None:
        """Until the next try is due, or `stop` is set."""
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(0.0, self._retry_at - time.monotonic()))

    def hears(self, word: Word, sender: str | None) -> bool:
        """Takes in the handler's word, which ends the waiting, or begins it. False when the word is not to be told, because the handler
        pauses and fails as before: what is tried next is better another delivery, as this one may fail anyway."""
        breaker = self._breaker
        if breaker.paused and not breaker.probed(word):
            self._pauses(breaker.every)
            return False
        self.is_over()
        if not breaker.hears(word, sender):
            self._pauses(breaker.wait())
        return True

    def is_over(self) -> None:
        """Something was tried, and nothing is away."""
        if self.part is not None:
            log.warning("handler %s: %s is back; going on", self._handler, self.part.part)
            self.part = None

    def _pauses(self, seconds: float) -> None:
        assert self._breaker.paused
        why = f"it failed on everybody alike: {self._breaker.paused.detail}"
        self.begins(Hold(f"handler {self._handler} (paused)", why, seconds))
