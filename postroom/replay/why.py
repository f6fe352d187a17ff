"""Why a mail came out as it did, in sentences: what was decided where, by which rule and field, what was looked up, and what would
have to be different for another outcome."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from postroom.reading.evidence import evidence_lines
from postroom.reading.gathering import Mail
from postroom.replay.otherwise import otherwise

_METHODS = {
    "openpgp": "an OpenPGP signature by a key of the account",
    "dkim": "a DKIM signature of a trusted domain that is aligned with the author's",
    "authentication-results": "the word of our own mail server (Authentication-Results)",
}
_SOURCES = {"envelope": "the envelope", "to-cc": "To and Cc"}


@dataclass(frozen=True, slots=True)
class Reasons:
    """About one delivery, or the whole mail (recipient None). status: None while it waits. because: what happened, in order;
    otherwise: what would have to be different, nothing for an erased mail, which nothing brings back. The texts are as the mail has them;
    whoever shows them makes them safe."""

    delivery_id: str | None
    recipient: str | None
    generation: int
    status: str | None
    reason: str | None
    because: list[str]
    otherwise: list[str]


def reasons(mail: Mail) -> list[Reasons]:
    """The reasons of each delivery in its latest generation."""
    return [_of(mail, facts, mail.waits.get(place)) for place, facts in enumerate(mail.current)]


def _of(mail: Mail, facts: dict[str, Any], waits_for: str | None) -> Reasons:
    outcome, route = facts.get("outcome") or {}, facts.get("route") or {}
    authentication = facts.get("authentication") or {}
    because = [*_received(facts), *_replayed(facts), *_screened(facts), *_authenticated(facts), *_routed(facts), *_ended(facts)]
    if waits_for:
        because.append(f"It waits for {waits_for}.")
    because += _heard(mail, outcome)
    erased = mail.erased if mail.raw is None else None  # else it came again since
    if erased:
        because.append(f"It was {erased}.")
    recipient = outcome.get("recipient") or route.get("recipient")
    known = {
        "mail_id": mail.mail_id,
        "sender": authentication.get("sender") or facts["envelope"]["sender"],
        "account": authentication.get("account"),
        "handler": outcome.get("handler") or route.get("handler"),
        "domain": recipient.rpartition("@")[2] if recipient else None,
        "oops_id": outcome.get("oops_id"),
        "fingerprint": f"'{outcome['fingerprint']}'" if outcome.get("fingerprint") else None,
    }
    return Reasons(
        outcome.get("delivery_id") or route.get("delivery_id"),
        recipient,
        (facts.get("replay") or {}).get("generation", 0),
        outcome.get("status"),
        outcome.get("reason"),
        because,
        [] if erased else otherwise(outcome.get("reason"), known),
    )


def _received(facts: dict[str, Any]) -> Iterator[str]:
    envelope = facts["envelope"]
    sender = envelope["sender"]
    who = "without an envelope sender" if sender is None else f"from the envelope sender {sender or '<>'}"
    to = f"for {', '.join(envelope['recipients'])}" if envelope["recipients"] else "naming no recipient"
    yield f"It came by {envelope['via']} at {envelope['received_at']}, {who}, {to}."
    if envelope.get("truncated"):
        yield f"It has {envelope['size']:,} octets, more than is taken, so only its first 64 KiB were kept."


def _replayed(facts: dict[str, Any]) -> Iterator[str]:
    replay = facts.get("replay")
    if replay:
        by = "by what was looked up when it came" if replay.get("evidence") else "by what the stages that ran again found"
        whom = f", for {', '.join(replay['recipients'])} only" if replay.get("recipients") else ""
        yield f"What follows was decided when replay {replay['generation']} brought it in again{whom}; senders are judged {by}."


def _screened(facts: dict[str, Any]) -> Iterator[str]:
    member = facts.get("screening")
    if member is None:
        return
    if member.get("rule"):
        yield f"The bounce filter's rule {member['rule']} fired, on the field {member.get('field')!r}."
        return
    yield "The bounce filter let it through: none of its rules fired."
    if member.get("silence"):
        yield f"But a weaker sign of a robot or a list ({member['silence']}) forbids to answer it."


def _authenticated(facts: dict[str, Any]) -> Iterator[str]:
    member = facts.get("authentication")
    if member is None:
        return
    sender = member.get("sender")
    if sender is None:
        yield "No author could be read out of From or Sender."
    elif member.get("account"):
        field = (member.get("source") or "from").capitalize()
        yield f"{field} names {sender}, an address of the account {member['account']}."
    else:
        yield f"From names {sender}, an address of no account."
    if member["strength"] == "strong":
        yield f"Its sender counts as strong, proved by {_METHODS.get(member.get('method'), member.get('method'))}."
    else:
        yield f"Its sender counts as {member['strength']}."
    yield from (f"{line[:1].upper()}{line[1:]}." for line in evidence_lines(member))


def _routed(facts: dict[str, Any]) -> Iterator[str]:
    route = facts.get("route")
    if route is None:
        return
    source = _SOURCES.get(route["source"], f"the field {route['source'].removeprefix('header:')}")
    yield f"Its address {route['address']} was taken from {source}, and goes to the handler {route['handler']}."


def _ended(facts: dict[str, Any]) -> Iterator[str]:
    outcome = facts.get("outcome")
    if outcome is None:
        return
    stage = outcome["stage"].replace("handler:", "the handler ") if ":" in outcome["stage"] else outcome["stage"].replace("-", " ")
    whom = f" for {outcome['recipient']}" if outcome.get("recipient") else ""
    word = outcome["status"] + (f", {outcome['reason']}" if outcome.get("reason") else "")
    tries = f", after {outcome['attempts']} tries" if outcome.get("attempts", 1) > 1 else ""
    field = (facts.get("screening") or {}).get("field")
    detail = f": {outcome['detail']}" if outcome.get("detail") and outcome["detail"] != field else ""
    yield f"In {stage} it ended{whom} as {word}{tries}{detail}."


def _heard(mail: Mail, outcome: dict[str, Any]) -> Iterator[str]:
    reply_id = outcome.get("reply_id")
    if not reply_id:
        return
    told = [entry.facts["reply"] for entry in mail.entries if entry.kind == "reply" and entry.facts.get("reply")]
    event = next((event for event in told if event["reply_id"] == reply_id), None)
    if event is None:
        yield "A mail to its sender is still to be written or sent."
    elif event["status"] == "sent":
        yield f"Its sender was written to, at {event.get('to')}."
    elif event["status"] == "silent":
        yield f"Its sender was not written to, by the rule {event.get('rule')}."
    else:
        yield f"The mail to its sender was given up: {event.get('rule')}."
