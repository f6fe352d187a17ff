"""Facts, records and mails for the tests of our replies."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from streams.record import Draft, Position, Record
from topology.ending import ended
from topology.facts import Authentication, Envelope, Facts, Replay, Route, Screening, Status, Strength
from topology.ids import delivery_id, reply_id
from topology.records import Topics

TOPICS = Topics("mail")
SENDER = "ann@example.org"
RECIPIENT = "12@bugs.example.net"
DECIDED = "2026-03-01T10:00:01.500Z"
TEN_O_CLOCK = 1_772_359_200_000
"""ms since 1970; DECIDED, but for its second and a half."""

MAIL = (
    b"From: Ann <ann@example.org>\nTo: 12@bugs.example.net\nSubject: a bug\nMessage-ID: <1@example.org>\n"
    b"Date: Sun, 01 Mar 2026 10:00:00 +0000\n\nIt is broken.\n"
)


def facts(
    status: Status = "failed",
    reason: str | None = "handler-error",
    *,
    mail: bytes = MAIL,
    sender: str | None = SENDER,
    envelope_sender: str | None = None,
    account: str | None = "ann",
    strength: Strength = "weak",
    method: str | None = None,
    silence: str | None = None,
    replay: Replay | None = None,
    raw: Position | None = None,
    archived: str | None = None,
    size: int | None = None,
    **outcome: Any,
) -> Facts:
    """The facts of a delivery of `mail` that has ended."""
    digest = sha256(mail).hexdigest()
    before = Facts(
        Envelope(
            digest[:32], envelope_sender, (RECIPIENT,), "2026-03-01T10:00:00.000Z", "import", size or len(mail), digest, archived=archived
        ),
        raw or Position("log", TOPICS.raw, 0, 0),
        Screening(silence=silence, recipients=(RECIPIENT,)),
        Authentication(sender, "from", strength, account=account, method=method),
        Route(delivery_id(digest[:32], RECIPIENT), "bugs", RECIPIENT, RECIPIENT, "envelope"),
        replay=replay,
    )
    assert before.route
    delivery = before.route.delivery_id
    answer = reply_id(delivery, before.generation, "answer") if status == "handled" else None
    return ended(
        before, status, reason, stage="handler bugs", at=DECIDED, delivery_id=delivery, recipient=RECIPIENT, reply_id=answer, **outcome
    )


def stored(draft: Draft, offset: int = 0, time: int = TEN_O_CLOCK) -> Record:
    """The draft as a log would give it back, in partition 0."""
    return Record(draft.topic, 0, offset, time, draft.key, draft.value, draft.headers)


class Mails:
    """The raw mails by position, in memory; remembers what it was asked for."""

    def __init__(self, **by_offset: bytes) -> None:
        self.by_position = {Position("log", TOPICS.raw, 0, int(name[1:])): mail for name, mail in by_offset.items()}
        self.asked: list[list[Position]] = []

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `topology.ports.Mails`."""
        self.asked.append(list(positions))
        found = [self.by_position.get(position) for position in positions]
        return [
            None if mail is None else Record(at.topic, at.partition, at.offset, 0, None, mail)
            for at, mail in zip(positions, found, strict=True)
        ]
