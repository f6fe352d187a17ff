"""Ids. Same input, same ids: every one is made from what it names, so that a repeat, a replay or a second worker gets the same.

All are the first 128 bits of a SHA-256 in lower-case hex; an OOPS id has `OOPS-` before it.
"""

from collections.abc import Iterable
from hashlib import sha256


def _digest(kind: bytes, *parts: bytes) -> str:
    # Each part is preceded by its length, so that no two lists of parts can be read as one another.
    named = kind
    for part in parts:
        named += b"%d:" % len(part) + part
    return sha256(named).hexdigest()[:32]


def _of_two(kind: bytes, one: bytes, other: bytes) -> str:
    """`_digest(kind, one, other)`, of which several are made for every mail."""
    return sha256(b"%b%d:%b%d:%b" % (kind, len(one), one, len(other), other)).hexdigest()[:32]


def mail_id(envelope_sender: str | None, digest: bytes, received_at: str | None) -> str:
    """envelope_sender: as compared, "" null, None absent. digest: SHA-256 of the bytes as received. received_at: only for a mail
    with neither Message-ID nor Received, which says nothing else of its time."""
    return _digest(b"mail", b"-" if envelope_sender is None else b"+" + envelope_sender.encode(), digest, (received_at or "").encode())


def hand_over_id(mail: str, recipients: Iterable[str]) -> bytes:
    """One hand-over: the mail and the recipients it names, as compared, in any order."""
    return _digest(b"hand-over", mail.encode(), *(r.encode() for r in sorted(set(recipients)))).encode()


def delivery_id(mail: str, recipient: str) -> str:
    """A mail to one recipient, as compared."""
    return _of_two(b"delivery", mail.encode(), recipient.encode())


def whole_id(mail: str, recipients: Iterable[str]) -> str:
    """The delivery id of a mail that ends whole: with the recipients of that hand-over, as compared, that are no repeats."""
    return _digest(b"whole", mail.encode(), *(r.encode() for r in sorted(set(recipients))))


def outcome_id(delivery: str, generation: int) -> str:
    """The outcome of a delivery in one generation."""
    return _of_two(b"outcome", delivery.encode(), b"%d" % generation)


def oops_id(delivery: str, generation: int) -> str:
    """The error id that is quoted to the sender."""
    return "OOPS-" + _digest(b"oops", delivery.encode(), b"%d" % generation)


def reply_id(delivery: str, generation: int, kind: str) -> str:
    """A mail that we write about a delivery. kind: "oops", "notice" or "answer"."""
    return _digest(b"reply", delivery.encode(), b"%d" % generation, kind.encode())
