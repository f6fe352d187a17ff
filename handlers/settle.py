"""The stage that settles what a handler on Faust said: mail.said.<name> -> an outcome, and with it mail.failures or mail.answers; or a
retry. An ordinary stage, so it does so exactly once, however often the handler said it.

Of all that was said of one try of a delivery (delivery, generation, attempt) the first counts. What was settled before is known for the
dedupe window from mail.said itself, so another worker knows the same.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from handlers.outcomes import Outcomes
from handlers.said import Telling, id_of
from handlers.word import GONE
from streams.errors import LogError
from streams.record import Draft, Position, Record
from streams.retries import RetryPlan, Waiting
from streams.stage import Again, Alive, Failure, Result, Stage, between, nothing
from topology.facts import Facts, rfc3339
from topology.oopsing import Oopses
from topology.ports import Archive, Mails
from topology.recent import Recent
from topology.records import Topics, facts_of
from topology.replies.stow import message_of

log = logging.getLogger("postroom.handlers")

History = Callable[[int, int], Iterable[Record]]
"""(partition, window in ms): the records of mail.said of that partition which the group has passed, from that long before the time of the
one at which it stands."""


class Firsts:
    """Where each try was told of first, for the partitions that are ours. window: seconds."""

    def __init__(self, window: float, history: History) -> None:
        self._recent = Recent(window)
        self._history = history

    def assigned(self, partitions: Iterable[int], alive: Alive = nothing) -> None:
        """Rebuilds what is known of these partitions."""
        for partition in partitions:
            self.revoked([partition])
            for record in between(self._history(partition, self._recent.window_ms), alive):
                self.is_first(record)

    def revoked(self, partitions: Iterable[int]) -> None:
        """Forgets partitions."""
        self._recent.forget(partitions)

    def is_first(self, record: Record) -> bool:
        """Whether nothing before the record told of the same try; remembers it, and forgets what is older than the window. A record that
        is processed again meets its own entry, and is as much the first as before."""
        entry = sha256(id_of(record)).digest()[:16]
        return self._recent.note(record.partition, record.offset, record.time, entry) == record.offset


class Settle(Stage):
    """Settles one handler's words. plan: its retries; that Faust's group keeps account of what waits there is why this stage has none of
    its own. mails: where the delivery's records are fetched from. clock: ms since 1970. window: seconds."""

    def __init__(
        self,
        handler: str,
        topics: Topics,
        mails: Mails,
        archive: Archive,
        oopses: Oopses,
        clock: Callable[[], int],
        *,
        plan: RetryPlan,
        window: float,
        history: History,
        inline_limit: int = 512 * 1024,
    ) -> None:
        self.name = f"settle:{handler}"
        self.source = topics.said(handler)
        self._handler = handler
        self._mails = mails
        self._archive = archive
        self._clock = clock
        self._plan = plan
        self._outcomes = Outcomes(handler, topics, archive, oopses, inline_limit)
        self._firsts = Firsts(window, history)

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        """See Stage."""
        self._firsts.assigned(partitions, alive)

    def revoked(self, partitions: frozenset[int]) -> None:
        """See Stage."""
        self._firsts.revoked(partitions)

    def process(self, records: Sequence[Record]) -> list[Result]:
        """Settles them; a try that was told of before becomes nothing. Raises Hold when the archive is away, Newer, and ValueError,
        KeyError or TypeError for a record that is none of mail.said."""
        told = [self._telling(record) if self._firsts.is_first(record) else None for record in records]
        positions = sorted({telling.mail for telling in told if telling and _needs_mail(telling)})
        mails = dict(zip(positions, self._mails.fetch(positions), strict=True)) if positions else {}
        return [self._settled(record, telling, mails) if telling else [] for record, telling in zip(records, told, strict=True)]

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        """See Stage."""
        if not self._firsts.is_first(record):
            return []
        mail = None
        try:
            mail = self._mails.fetch([self._telling(record).mail])[0]
        except LogError:
            raise
        except Exception:  # noqa: BLE001 - whatever stands in the record, it must end as an outcome
            log.warning("%s: %s %d@%d is no handler's word", self.name, record.topic, record.partition, record.offset)
        return self._outcomes.of_failure(record, failure, mail.value if mail else b"", rfc3339(self._clock()))

    def _telling(self, record: Record) -> Telling:
        data = message_of(record, self._archive)
        if data is None:
            raise ValueError("the handler's word is gone from the archive")
        return Telling.decode(data)

    def _settled(self, record: Record, telling: Telling, mails: dict[Position, Record | None]) -> list[Draft]:
        word, mail = telling.word, mails.get(telling.mail)
        if isinstance(word, Failure) and mail is not None:
            return self._outcomes.of_failure(mail, word, mail.value, telling.at, telling.traceback)
        facts = facts_of(record)
        if isinstance(word, Failure) or (mail is None and _needs_mail(telling)):
            return self._outcomes.of_word(facts, GONE, b"", telling.at, telling.attempt)
        if isinstance(word, Again):
            assert mail is not None
            return self._again(facts, telling, word, mail)
        return self._outcomes.of_word(facts, word, mail.value if mail else b"", telling.at, telling.attempt, telling.traceback)

    def _again(self, facts: Facts, telling: Telling, word: Again, mail: Record) -> list[Draft]:
        waiting = Waiting(self._plan)
        if waiting.gives_up(mail, self._clock()):
            failure = Failure("timeout" if word.timeout else "gave-up", attempts=telling.attempt, detail=word.why)
            return self._outcomes.of_failure(mail, failure, mail.value, telling.at)
        log.info("mail %s: handler %s is to be called again: %s", facts.envelope.mail_id, self._handler, word.why)
        return [waiting.again(mail, word, self._clock())]


def _needs_mail(telling: Telling) -> bool:
    """Whether what becomes of a word carries the mail."""
    return isinstance(telling.word, Again | Failure) or telling.word.status in ("returned", "failed")
