"""What a handler's word becomes on the log: an outcome, and with it what the sender is owed. The transactional runner and the settling
of what handlers on Faust said share it."""

import logging
from dataclasses import replace
from typing import Literal

from handlers.fingerprint import in_words
from handlers.word import Said, composed
from streams.record import Draft, Record
from streams.stage import Failure
from topology import ids
from topology.ending import ended, sender_of
from topology.facts import Facts
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.oopsing import Oopses
from topology.ports import Archive
from topology.records import Topics, answer_draft, facts_of, failure_draft, outcome_draft
from topology.replies.stow import stowed

log = logging.getLogger("postroom.handlers")

_REASONS: dict[str, Literal["crashed", "gave-up", "timeout", "stage-error"]] = {
    "crashed": "crashed",
    "gave-up": "gave-up",
    "timeout": "timeout",
    "error": "stage-error",  # what the handler itself raises is its word; this was raised round it
}


def said_of(failure: Failure) -> Said:
    """A failure that is no word of the handler's, as a word."""
    detail = failure.detail or (in_words(failure.error) if failure.error else "")
    return Said("failed", _REASONS[failure.kind], detail, error=failure.error)


class Outcomes:
    """Writes the outcomes of one handler. inline_limit: octets above which an answer goes to the archive."""

    def __init__(self, handler: str, topics: Topics, archive: Archive, oopses: Oopses, inline_limit: int) -> None:
        self.stage = f"handler:{handler}"
        """The stage that the outcomes name, whatever ran the handler."""
        self._handler = handler
        self._topics = topics
        self._archive = archive
        self._oopses = oopses
        self._inline_limit = inline_limit

    def of_word(self, facts: Facts, said: Said, mail: bytes, at: str, tries: int, traceback: str | None = None) -> list[Draft]:
        """The outcome, and with it a failure or an answer. mail: as the delivery's record has it. at: when it was said, RFC 3339. tries:
        with this one. traceback: where the error itself was raised in another process. Raises Hold when the archive is away."""
        route = facts.route
        answered = ids.reply_id(route.delivery_id, facts.generation, "answer") if route and said.reply else None
        final = ended(
            facts,
            said.status,
            said.reason,
            stage=self.stage,
            at=at,
            delivery_id=route.delivery_id if route else None,
            recipient=route.recipient if route else None,
            handler=self._handler,
            detail=said.detail,
            fingerprint=said.fingerprint,
            attempts=tries,
            reply_id=answered,
        )
        if said.reason == "refused" and final.outcome:  # the one detail that is not for us but for the sender, so it stays whole
            final = final.having(outcome=replace(final.outcome, detail=said.detail))
        drafts = [outcome_draft(self._topics, final)]
        if said.status in ("returned", "failed"):
            self._tell(final, said, traceback)
            drafts.append(failure_draft(self._topics, final, b"" if said.reason == "mail-gone" else mail, sender_of(final)))
        elif said.reply:
            to = sender_of(final) or final.envelope.mail_id
            answer = answer_draft(self._topics, self._topics.answers, b"answer", final, composed(said, facts), to)
            drafts.append(stowed(answer, self._archive, self._inline_limit))
        return drafts

    def of_failure(self, record: Record, failure: Failure, mail: bytes, at: str, traceback: str | None = None) -> list[Draft]:
        """The outcome of a record that could not be processed, whatever stands in it. mail, at, traceback: see `of_word`. Never raises."""
        try:
            facts = facts_of(record)
        except Exception:  # noqa: BLE001 - whatever stands in the record, it must end as an outcome
            facts = Facts(foreign_envelope(mail, record.time, HeadReader()))
        return self.of_word(facts, said_of(failure), mail, at, failure.attempts, traceback)

    def _tell(self, final: Facts, said: Said, traceback: str | None) -> None:
        """A failure: an error in the log with its traceback, and a report under the id that the sender is told."""
        outcome, mail_id = final.outcome, final.envelope.mail_id
        if outcome is None or outcome.oops_id is None:
            return
        name, detail = self._handler, said.detail or ""
        words = (mail_id, name, said.reason, outcome.oops_id, detail)
        log.error("mail %s: handler %s: %s, %s: %s", *words, exc_info=said.error, extra={"traceback": traceback})
        self._oopses.record(
            outcome.oops_id,
            mail_id=mail_id,
            delivery_id=outcome.delivery_id,
            where=f"handler {name}",
            error=said.error,
            detail=detail,
            traceback=traceback,
        )
