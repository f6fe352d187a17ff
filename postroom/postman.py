"""The postman: mail.replies (and its retries) -> mails that are sent, and the reply events sent, silent and given-up.

It counts (`topology.replies.limits`), fetches the originals of a batch with one call and attaches them, and sends. A relay or an
outbox that is away holds the role; one address that asks for time goes to the retries, and later mails to it follow.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from postroom.outbox import Letter, Outbox, Send
from streams.record import Draft, Position, Record
from streams.retries import attempts
from streams.stage import FOLLOWS, Again, Alive, Failure, Result, Stage, between, nothing
from topology.facts import Facts, rfc3339
from topology.ports import Archive, Mails
from topology.records import Topics, facts_of
from topology.replies import attach, compose, stow
from topology.replies.events import event, given_up
from topology.replies.limits import Limits
from topology.replies.originals import fetched, kept

_log = logging.getLogger(__name__)

_REMEMBERED = 10_000
"""Replies that were sent and are remembered in case their batch comes again; an entry costs about 200 bytes."""

Recent = Callable[[int], Iterable[Record]]
"""(partition): the records of mail.replies in that partition which the group has passed, in their order, from 24 hours before the one at
which it stands."""


@dataclass(slots=True)
class _Job:
    """One record of the batch on its way to a result."""

    record: Record
    facts: Facts
    limited: str | None
    sent_at: str | None = None

    @property
    def to(self) -> str:
        """The address to be written to."""
        return (self.record.key or b"").decode()

    @property
    def reply_id(self) -> str:
        assert self.facts.outcome
        return compose.reply_id_of(self.facts, self.facts.outcome)

    @property
    def attempts(self) -> int:
        """How often it has been tried, this time included."""
        return attempts(self.record) + 1

    @property
    def with_original(self) -> bool:
        """What a handler answers stands for itself; an OOPS mail or a notice gives the mail back."""
        assert self.facts.outcome
        return compose.kind_of(self.facts.outcome) != "answer"


class Postman(Stage):
    """See the module. gone: the words in place of an original that is no longer kept. clock: ms since 1970 UTC, for the time of sending.
    silent_before: nobody is written to about a mail received before then (RFC 3339 as in the facts), unless a replay asked for it: what was
    sent since a backup is not known to the log that was made of it.

    A crash after a mail was sent and before the commit sends it once more, with the same bytes (a Maildir then has it once). A
    batch that comes again to this process (a commit failed) sends nothing twice. So give it small batches: what one crash can double is
    at most one.
    """

    name = "postman"

    def __init__(
        self,
        topics: Topics,
        outbox: Outbox,
        archive: Archive,
        mails: Mails,
        *,
        limits: Limits,
        recent: Recent,
        gone: str,
        clock: Callable[[], int],
        silent_before: str | None = None,
    ) -> None:
        self._silent_before = silent_before or ""
        self._topics = topics
        self._outbox = outbox
        self._archive = archive
        self._mails = mails
        self._limits = limits
        self._recent = recent
        self._gone = gone
        self._clock = clock
        self._sent: dict[str, str] = {}
        self._tripped = -1
        self.sources = (topics.replies, *topics.reply_retries())

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        """Counts again what these partitions had in the last day."""
        for partition in sorted(partitions):
            self._limits.rebuild(partition, between(self._recent(partition), alive))

    def revoked(self, partitions: frozenset[int]) -> None:
        """Forgets the counts; what was sent stays sent."""
        for partition in partitions:
            self._limits.forget(partition)

    def process(self, records: Sequence[Record]) -> list[Result]:
        """One event a record, or Again; of those before the one at which relay or archive went away, so that what was sent is committed
        before anything else. Raises Hold when they are away from the first one on, or the outbox cannot be left in good order, Newer."""
        jobs = [self._job(record) for record in records]
        due = [job for job in jobs if not job.limited and not job.sent_at]
        originals = fetched(
            self._mails, [job.facts.raw for job in due if job.with_original and job.facts.raw and not job.facts.envelope.archived]
        )
        results: list[Result] = []
        waiting: set[str] = set()
        with self._outbox.opened() as send:
            for job in jobs:
                try:
                    result = FOLLOWS if job.to in waiting else self._result(job, originals, send)
                except Exception:
                    if not results:
                        raise
                    break  # it is raised again when its record comes first
                if isinstance(result, Again):
                    waiting.add(job.to)
                results.append(result)
        for job in jobs:
            self._remember(job)
        return results

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        """A fault about one reply is `given-up`, never an OOPS about an OOPS."""
        return given_up(self._topics, record, failure, rfc3339(record.time), (record.key or b"").decode("utf-8", "replace"))

    def _job(self, record: Record) -> _Job:
        facts = facts_of(record)
        if facts.envelope.received_at < self._silent_before and facts.replay is None:
            return _Job(record, facts, "silent-before")
        # What was tried before was within the limits then.
        limited = None if attempts(record) else self._limits.exceeded(record)
        job = _Job(record, facts, limited)
        job.sent_at = self._sent.get(job.reply_id)
        if limited == "breaker":
            self._alarm(record)
        return job

    def _result(self, job: _Job, originals: dict[Position, Record], send: Send) -> Result:
        if job.limited:
            return [event(self._topics, job.facts, "silent", rule=job.limited, to=job.to, at=rfc3339(job.record.time))]
        if job.sent_at is None:
            letter = self._letter(job, originals)
            if letter is None:
                return [event(self._topics, job.facts, "given-up", rule="message-gone", to=job.to, attempts=job.attempts, at=self._now())]
            verdict = send(letter)
            if verdict.status == "later":
                return Again(verdict.why)
            if verdict.status == "refused":
                return [event(self._topics, job.facts, "given-up", rule=verdict.why, to=job.to, attempts=job.attempts, at=self._now())]
            job.sent_at = self._now()
        return [event(self._topics, job.facts, "sent", to=job.to, attempts=job.attempts, at=job.sent_at)]

    def _letter(self, job: _Job, originals: dict[Position, Record]) -> Letter | None:
        message = stow.message_of(job.record, self._archive)
        if message is None:
            return None
        if not job.with_original:
            return Letter(job.reply_id, job.to, message)
        outcome = job.facts.outcome
        limit = attach.QUOTED_TOO_LARGE if outcome and outcome.reason == "too-large" else attach.QUOTED
        data = kept(job.facts, originals, self._archive)
        original = None if data is None else attach.Original(data, job.facts.envelope.size)
        return Letter(job.reply_id, job.to, message, True, original, self._gone, limit)

    def _remember(self, job: _Job) -> None:
        """Notes when it was sent, if it was."""
        if job.sent_at is None or job.reply_id in self._sent:
            return
        if len(self._sent) >= _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent[job.reply_id] = job.sent_at

    def _now(self) -> str:
        return rfc3339(self._clock())

    def _alarm(self, record: Record) -> None:
        """One line an hour, whatever the storm."""
        hour = record.time // 3_600_000
        if hour != self._tripped:
            self._tripped = hour
            _log.error("replies.max_an_hour is reached: no more mails are sent for this hour; look at `postroom list` for what fails")
