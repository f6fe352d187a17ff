"""The stage of a handler: mail.routed.<name> and its retries -> an outcome, and with it mail.failures or mail.answers; or a retry."""

import logging
import time
from collections.abc import Callable, Sequence

from handlers.batch import Batch, Handler
from handlers.breaker import PROBE_SECONDS, Breaker
from handlers.outcomes import Outcomes
from handlers.word import Word
from streams.faults import Hold
from streams.record import Draft, Record
from streams.retries import attempts
from streams.stage import Again, Failure, Result, Stage
from topology.ending import sender_of
from topology.facts import Facts, rfc3339
from topology.oopsing import Oopses
from topology.ports import Archive
from topology.records import Topics, facts_of

log = logging.getLogger("postroom.handlers")

NOT_RUN = Again("the handler paused or waited before it came to this delivery", after=0.0, follows=True)
"""On the rest of a batch whose first deliveries have their words. Those are written now; the rest comes back from the first retry
topic in its order, and this counts as no try."""


class HandlerStage(Stage):
    """One handler's stage. clock: ms since 1970. inline_limit: octets above which an answer goes to the archive. monotonic, probe_every:
    seconds, for the breaker (`handlers.breaker`)."""

    def __init__(
        self,
        handler: Handler,
        topics: Topics,
        archive: Archive,
        oopses: Oopses,
        clock: Callable[[], int],
        *,
        inline_limit: int = 512 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
        probe_every: float = PROBE_SECONDS,
    ) -> None:
        self._outcomes = Outcomes(handler.name, topics, archive, oopses, inline_limit)
        self.name = self._outcomes.stage
        self._handler = handler
        self._archive = archive
        self._clock = clock
        self._breaker = Breaker(handler.name, handler.pause_after, monotonic, probe_every)
        self._unwritten: dict[tuple[str, int, int], Word] = {}

    def assigned(self, partitions: frozenset[int]) -> None:
        """See Stage."""
        self._handler.afresh()

    def process(self, records: Sequence[Record]) -> list[Result]:
        """Calls the handler on all of them; see Stage. When a part goes away, or the breaker trips, in the middle of a batch, what was
        said before is written all the same (see NOT_RUN), and the next call raises Hold."""
        facts = [_routed(record) for record in records]
        words = self._words(records, facts)
        at = rfc3339(self._clock())
        try:
            results = [self._result(record, facts[place], words.get(place, NOT_RUN), at) for place, record in enumerate(records)]
        except Hold:
            # An answer could not be put into the archive. The handler is not to be called again each time that this is tried.
            self._unwritten = {_at(records[place]): word for place, word in words.items()}
            raise
        self._unwritten = {}
        return results

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        """See Stage."""
        return self._outcomes.of_failure(record, failure, record.value, rfc3339(self._clock()))

    def _words(self, records: Sequence[Record], facts: Sequence[Facts]) -> dict[int, Word]:
        """The words that there are, by place; at least one. Raises Hold."""
        words = {place: self._unwritten[_at(record)] for place, record in enumerate(records) if _at(record) in self._unwritten}
        if self._breaker.paused and not words:
            words = self._probed(records, facts)
        if self._breaker.paused:
            return words

        def judge(place: int, word: Word) -> bool:
            return self._breaker.hears(word, sender_of(facts[place]))

        todo = [place for place in range(len(records)) if place not in words]
        batch = Batch(records, facts, self._archive, todo, judge)
        try:
            self._handler.handle(batch)
        except Hold:
            if not words and not batch.words:
                raise
        return words | batch.words

    def _probed(self, records: Sequence[Record], facts: Sequence[Facts]) -> dict[int, Word]:
        """While the handler pauses: tries one delivery when that is due, and returns its word when it ends the pause. Raises Hold."""
        breaker = self._breaker
        assert breaker.paused
        part, why = f"handler {self._handler.name} (paused)", f"it failed on everybody alike: {breaker.paused.detail}"
        if wait := breaker.wait():
            raise Hold(part, why, wait)
        # Of each key the first, so that order within a key holds.
        firsts = sorted({record.key: place for place, record in reversed(list(enumerate(records)))}.values())
        place = firsts[breaker.probes % len(firsts)]
        batch = Batch(records, facts, self._archive, [place], lambda _place, _word: True)
        self._handler.handle(batch)
        if not breaker.probed(batch.words[place]):
            raise Hold(part, why, breaker.every)
        return batch.words

    # -- what a word becomes on the log -------------------------------------------------------------------------------

    def _result(self, record: Record, facts: Facts, word: Word, at: str) -> Result:
        if isinstance(word, Again):
            if not word.follows:
                log.info("mail %s: handler %s is to be called again: %s", facts.envelope.mail_id, self._handler.name, word.why)
            return word
        return self._outcomes.of_word(facts, word, record.value, at, attempts(record) + 1)


def _at(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _routed(record: Record) -> Facts:
    facts = facts_of(record)
    if facts.route is None:
        raise ValueError("not a routed mail: its facts have no route")
    return facts
