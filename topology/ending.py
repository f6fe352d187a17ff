"""How a mail or a delivery ends: its outcome, and what it owes the sender, built in one way by every stage and handler."""

from collections.abc import Sequence

from topology import ids
from topology.facts import OWES_AN_ANSWER, Facts, Outcome, Status, cut
from topology.item import Decision, Failing
from topology.records import recipient_key


def sender_of(facts: Facts) -> str | None:
    """The address that an answer would go to: the author's, once authentication has read it."""
    return facts.authentication.sender if facts.authentication else None


def whole_recipients(facts: Facts) -> Sequence[str]:
    """The recipients of this hand-over that are no repeats, as compared."""
    written = facts.screening.recipients if facts.screening else facts.envelope.recipients
    return [recipient_key(recipient) for recipient in written]


def ended(
    facts: Facts,
    status: Status,
    reason: str | None,
    *,
    stage: str,
    at: str,
    delivery_id: str | None = None,
    recipient: str | None = None,
    handler: str | None = None,
    detail: str | None = None,
    group: str | None = None,
    recipients: Sequence[str] = (),
    fingerprint: str | None = None,
    attempts: int = 1,
    reply_id: str | None = None,
    warnings: Sequence[str] = (),
) -> Facts:
    """The facts with an outcome. at: when it was decided, RFC 3339. delivery_id: None for the whole mail. group: the delivery id
    that several deliveries of one decision share for their one OOPS id and reply; recipients: the addresses it names."""
    generation = facts.generation
    delivery = delivery_id or ids.whole_id(facts.envelope.mail_id, whole_recipients(facts))
    owed = group or delivery
    oops = ids.oops_id(owed, generation) if status == "failed" else None
    if status in OWES_AN_ANSWER:
        reply_id = ids.reply_id(owed, generation, "oops" if oops else "notice")
    return facts.having(
        outcome=Outcome(
            status,
            reason,
            ids.outcome_id(delivery, generation),
            delivery,
            stage,
            at,
            recipient=recipient,
            recipients=tuple(recipients),
            # What the sender is to read (a refusal's text) stays whole; what operators read is evidence, and cut.
            detail=detail if reason == "refused" or not detail else cut(detail),
            handler=handler,
            oops_id=oops,
            reply_id=reply_id,
            fingerprint=fingerprint,
            attempts=attempts,
            warnings=tuple(warnings),
        )
    )


def whole(
    facts: Facts, status: Status, reason: str, *, stage: str, at: str, detail: str | None = None, warnings: Sequence[str] = ()
) -> Decision:
    """The decision that ends the whole mail."""
    final = ended(facts, status, reason, stage=stage, at=at, detail=detail, warnings=warnings)
    failures = (Failing(final, sender_of(facts)),) if status in OWES_AN_ANSWER else ()
    return Decision(final, outcomes=(final,), failures=failures)
