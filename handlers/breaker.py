"""The breaker: a handler that fails on everybody alike pauses, instead of writing an apology to everybody.

The cause is then the handler or what it needs, not the mails. It trips when the last `after` deliveries, of at least 3 senders,
failed with one fingerprint. Those have their outcomes and their OOPS; what comes behind them stays in the queue. Once a minute one
delivery is tried: if it fails in the same way, nothing is written of it and it stays, too; any other word ends the pause. The tries go
round the deliveries in hand, so that one which would fail anyway does not keep the pause up.

A worker judges by what it saw itself since it started, so several workers pause one by one, and a restart (with the handler mended)
begins anew.
"""

import logging
from collections import deque
from collections.abc import Callable

from handlers.word import Said, Word

log = logging.getLogger("postroom.handlers")

SENDERS = 3
"""Senders that must be hit: the mails of one or two may be at fault themselves."""
PROBE_SECONDS = 60.0


class Breaker:
    """The state of one handler's breaker. handler: its name. after: deliveries in a row, 0: never. clock: seconds, monotonic. every:
    seconds between two tries."""

    def __init__(self, handler: str, after: int, clock: Callable[[], float], every: float = PROBE_SECONDS) -> None:
        self.every = every
        self._handler = handler
        self._after = after
        self._clock = clock
        self._fingerprint: str | None = None
        self._senders: deque[str | None] = deque(maxlen=after or 1)
        self._probe_at = 0.0
        self.paused: Said | None = None
        """The failure over which the handler pauses, or None."""
        self.probes = 0
        """Tries in this pause."""

    def hears(self, word: Word, sender: str | None) -> bool:
        """Takes in the word on a delivery of this sender. False when the handler has to pause (an alarm is then logged, once)."""
        failed = isinstance(word, Said) and word.fingerprint is not None
        if not failed:
            if isinstance(word, Said):
                self._fingerprint = None
            return True
        assert isinstance(word, Said)
        if word.fingerprint != self._fingerprint:
            self._fingerprint = word.fingerprint
            self._senders.clear()
        self._senders.append(sender)
        if not self._after or len(self._senders) < self._after or len(set(self._senders)) < SENDERS:
            return True
        self._trip(word)
        return False

    def wait(self) -> float:
        """Seconds until the next try, 0 when it is due; only while paused."""
        return max(0.0, self._probe_at - self._clock())

    def probed(self, word: Word) -> bool:
        """Takes in the word on the one delivery that was tried. True when that ends the pause."""
        self.probes += 1
        assert self.paused
        if isinstance(word, Said) and word.fingerprint == self.paused.fingerprint:
            self._probe_at = self._clock() + self.every
            return False
        log.warning("handler %s goes on: the delivery that was tried did not fail as the last ones did", self._handler)
        self.paused, self._fingerprint = None, None
        return True

    def _trip(self, word: Said) -> None:
        self.paused, self.probes = word, 0
        self._probe_at = self._clock() + self.every
        log.error(
            "handler %s pauses: its last %d deliveries, of %d senders, all failed with fingerprint %s: %s. "
            "Its mails wait in the queue; one is tried each minute, and a success ends the pause",
            self._handler,
            self._after,
            len(set(self._senders)),
            word.fingerprint,
            word.detail,
        )
