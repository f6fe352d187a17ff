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
from streams.stage import Again, Alive, Failure, Result, Stage, nothing
from topology.ending import sender_of
from topology.facts import Facts, rfc3339
from topology.oopsing import Oopses
from topology.ports import Archive
from topology.records import Topics, facts_of

log = logging.getLogger("postroom.handlers")

BUDGET_SECONDS = 1.0
"""How long a batch goes on beginning with further deliveries: what a slow handler did is written soon, and a stop is heeded."""


class HandlerStage(Stage):
    """One handler's stage. clock: ms since 1970. inline_limit: octets above which an answer goes to the archive. monotonic, probe_every:
    seconds, for the breaker (`handlers.breaker`). budget: seconds."""

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
        budget: float = BUDGET_SECONDS,
    ) -> None:
        self._outcomes = Outcomes(handler.name, topics, archive, oopses, inline_limit)
        self.name = self._outcomes.stage
        self._handler = handler
        self._archive = archive
        self._clock = clock
        self._breaker = Breaker(handler.name, handler.pause_after, monotonic, probe_every)
        self._budget = budget
        self._unwritten: dict[tuple[str, int, int], Word] = {}
        """Words on deliveries behind one that has none yet, on which the handler's runtime raised, or whose answer could not be archived:
        those are not called again."""

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        """See Stage."""
        self._handler.afresh()

    def revoked(self, partitions: frozenset[int]) -> None:
        """See Stage."""
        self._unwritten = {at: word for at, word in self._unwritten.items() if at[1] not in partitions}

    def process(self, records: Sequence[Record]) -> list[Result]:
        """Calls the handler on them, in their order; see Stage. When the budget is used up, a part goes away or the breaker trips in
        the middle of a batch, only the first deliveries get their results; the next call goes on, or raises Hold."""
        if not records:
            return []
        facts = [_routed(record) for record in records]
        words = self._words(records, facts)
        self._unwritten |= {_at(records[place]): word for place, word in words.items()}
        at = rfc3339(self._clock())
        results: list[Result] = []
        for place, record in enumerate(records):
            if place not in words:
                break
            results.append(self._result(record, facts[place], words[place], at))
        for record in records[: len(results)]:
            del self._unwritten[_at(record)]
        if not results:
            raise self._paused(self._breaker.wait() or self._breaker.every)
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

        until = time.monotonic() + self._budget

        def judge(place: int, word: Word) -> bool:
            return self._breaker.hears(word, sender_of(facts[place])) and time.monotonic() < until

        todo = [place for place in range(len(records)) if place not in words]
        batch = Batch(records, facts, self._archive, todo, judge)
        try:
            self._handler.handle(batch)
        except Hold:
            if not words and not batch.words:
                raise
        except Exception:
            # It is found by halves, which must not call the others again.
            self._unwritten |= {_at(records[place]): word for place, word in batch.words.items()}
            if 0 not in words | batch.words:
                raise
        return words | batch.words

    def _probed(self, records: Sequence[Record], facts: Sequence[Facts]) -> dict[int, Word]:
        """While the handler pauses: tries one delivery when that is due, and returns its word when it ends the pause. Raises Hold."""
        breaker = self._breaker
        assert breaker.paused
        if wait := breaker.wait():
            raise self._paused(wait)
        # Of each key the first, so that order within a key holds.
        firsts = sorted({record.key: place for place, record in reversed(list(enumerate(records)))}.values())
        place = firsts[breaker.probes % len(firsts)]
        batch = Batch(records, facts, self._archive, [place], lambda _place, _word: True)
        self._handler.handle(batch)
        if not breaker.probed(batch.words[place]):
            raise self._paused(breaker.every)
        return batch.words

    def _paused(self, wait: float) -> Hold:
        why = self._breaker.paused.detail if self._breaker.paused else "it was stopped"
        return Hold(f"handler {self._handler.name} (paused)", f"it failed on everybody alike: {why}", wait)

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
