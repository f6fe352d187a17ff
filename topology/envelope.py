"""The envelope of a mail, as far as the mail itself and the hand-over tell it. Pure; shared by ingest and by foreign records.

Hostile bytes may stand in every field: nothing here raises, and each field is looked at in bounded length.
"""

from collections.abc import Sequence
from email.utils import mktime_tz, parsedate_tz

from topology import ids
from topology.address import envelope_key
from topology.facts import Envelope, cut, rfc3339
from topology.head import Head

_MAX_PATH = 1000
"""Characters of a Return-Path that are looked at: an address has at most 320, the rest may be comments."""
_MAX_RECEIVED = 100
"""Received fields that are asked for a date; a mail with more has gone round in circles."""
_MAX_DATE = 128
_LATEST_MS = 253_402_300_799_000
"""The last second of the year 9999, which RFC 3339 can still write."""


KEPT = 64 << 10
"""Octets that are kept of an oversized mail (DESIGN.md section 5)."""


def build(
    head: Head,
    *,
    sender: str | None,
    recipients: Sequence[str],
    received_ms: int,
    via: str,
    size: int,
    digest: str,
    truncated: bool = False,
) -> Envelope:
    """The envelope of one hand-over.

    sender: MAIL FROM as given ("" or "<>" the null sender; unreadable: no envelope sender), or None where the way of arrival
    tells none, and then the topmost Return-Path counts. recipients: as given; what JSON cannot carry in them is replaced.
    received_ms: ms since 1970 UTC. size and digest: of the whole mail, SHA-256 in hex, also where only its beginning is kept.
    """
    envelope_sender = return_path(head.first("return-path")) if sender is None else envelope_key(cut(sender))
    received_at = rfc3339(received_ms)
    message_id = message_id_of(head)
    # Without either field two mails of the same words are told apart by their time alone (DESIGN.md section 3).
    timeless = message_id is None and "received" not in head
    return Envelope(
        mail_id=ids.mail_id(envelope_sender, bytes.fromhex(digest), received_at if timeless else None),
        sender=envelope_sender,
        recipients=recipients_of(recipients),
        received_at=received_at,
        via=via,
        size=size,
        digest=digest,
        message_id=message_id,
        truncated=truncated,
    )


def recipients_of(given: Sequence[str]) -> tuple[str, ...]:
    """Recipients as an envelope keeps them: as given, each once, without what JSON cannot carry."""
    return tuple(dict.fromkeys(map(cut, given)))


def return_path(value: str | None) -> str | None:
    """The sender that a Return-Path field names, as compared: "" for the null sender `<>` (RFC 5322 section 3.6.7: blanks and
    comments may stand round and in it), None where the field is absent, empty or broken."""
    if value is None or len(value) > _MAX_PATH:
        return None
    return envelope_key(value) if value.strip() else None


def message_id_of(head: Head) -> str | None:
    """The topmost Message-ID without blanks, brackets and what stands behind them (some servers note in a comment that they added it),
    cut; None where it is absent or empty."""
    value = head.first("message-id")
    if value is None:
        return None
    written = "".join(value[: 2 * _MAX_PATH].split())
    return cut(written[1:].partition(">")[0] if written[:1] == "<" else written) or None


def received_ms(head: Head) -> int | None:
    """The time in the topmost Received field that has a readable one (RFC 5321 section 4.4: after the last semicolon), in ms
    since 1970 UTC; None where there is none."""
    for value in head.all("received")[:_MAX_RECEIVED]:
        _, semicolon, date = value.rpartition(";")
        if semicolon and (ms := date_ms(date)) is not None:
            return ms
    return None


def date_ms(text: str) -> int | None:
    """A date as mails write it (RFC 5322 section 3.3, its obsolete forms, and asctime's), in ms since 1970 UTC; without a zone
    it is UTC. None where it cannot be read, or lies before 1970 or after 9999."""
    try:
        parsed = parsedate_tz(text.strip()[:_MAX_DATE])
        ms = int(mktime_tz(parsed)) * 1000 if parsed else -1
    except (ValueError, OverflowError, IndexError, TypeError):  # what the standard parser lets through on hostile dates
        return None
    return ms if 0 <= ms <= _LATEST_MS else None
