"""Reply events: what became of a mail that we owe, written beside the outcomes."""

from typing import Literal

from streams.faults import Newer
from streams.record import Draft, Record
from streams.stage import Failure
from topology.facts import Facts, ReplyEvent
from topology.records import Topics, facts_of, reply_event_draft
from topology.replies import compose
from topology.replies.mime import one_line

WHY = 200
"""Characters of the reason in a reply event."""


def event(
    topics: Topics,
    facts: Facts,
    status: Literal["silent", "sent", "given-up"],
    *,
    at: str,
    rule: str | None = None,
    to: str | None = None,
    attempts: int = 1,
) -> Draft:
    """A reply event about the mail that the outcome in `facts` asks for."""
    outcome = facts.outcome
    assert outcome
    kind = compose.kind_of(outcome)
    reply = ReplyEvent(compose.reply_id_of(facts, outcome), status, kind, at, rule, to, attempts)
    return reply_event_draft(topics, facts.having(reply=reply))


def given_up(topics: Topics, record: Record, failure: Failure, at: str, to: str | None = None) -> list[Draft]:
    """The event for a record that could not be processed; nothing for one that says of no mail, to which no event could belong."""
    why = failure.kind if failure.kind in ("error", "crashed") else one_line(f"{failure.kind} {failure.detail}", WHY)
    try:
        return [event(topics, facts_of(record), "given-up", rule=why, at=at, to=to, attempts=failure.attempts)]
    except Newer:
        raise
    except Exception:  # noqa: BLE001 - foreign bytes in our topic: nothing of them can be relied on
        return []
