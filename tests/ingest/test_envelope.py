"""The envelope that a mail and its hand-over tell."""

from hashlib import sha256

import pytest

from topology.envelope import build, date_ms, message_id_of, received_ms, return_path
from topology.facts import Envelope, Facts, rfc3339
from topology.foreign import foreign_envelope
from topology.head import HeadReader

READER = HeadReader()
NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z


def made(raw: bytes, sender: str | None = None, recipients: tuple[str, ...] = (), at: int = NOON) -> Envelope:
    return build(
        READER.read(raw), sender=sender, recipients=recipients, received_ms=at, via="pipe", size=len(raw), digest=sha256(raw).hexdigest()
    )


@pytest.mark.parametrize(
    ("field", "sender"),
    [
        ("<ann@Example.ORG>", "ann@example.org"),
        ("ann@example.org", "ann@example.org"),
        ("<>", ""),
        ("  < > (nobody)", ""),
        ("", None),
        ("<ann@example.org", None),
        ("MAILER-DAEMON", None),
        ("<a@example.org> <b@example.org>", None),
        ("<>" * 10, None),
        ("(" * 5000, None),
        ("ann@exa\udcffmple.org", None),
    ],
)
def test_return_path_names_a_sender_the_null_sender_or_none(field: str, sender: str | None) -> None:
    """An empty or broken Return-Path is no envelope sender, not the null sender (A14)."""
    assert return_path(field) == sender


def test_of_several_return_paths_the_topmost_counts() -> None:
    assert made(b"Return-Path: <>\nReturn-Path: <ann@example.org>\n\n").sender == ""
    assert made(b"Return-Path:\nReturn-Path: <>\n\n").sender is None


def test_the_sender_of_the_hand_over_beats_return_path() -> None:
    raw = b"Return-Path: <ann@example.org>\n\n"
    assert made(raw, "bob@example.org").sender == "bob@example.org"
    assert made(raw, "<>").sender == made(raw, "").sender == ""
    assert made(raw, "not an address").sender is None


def test_recipients_are_kept_as_given_and_once_each() -> None:
    assert made(b"\n", recipients=("Bugs@Example.org", "x@example.org", "Bugs@Example.org")).recipients == (
        "Bugs@Example.org",
        "x@example.org",
    )


def test_facts_can_be_written_whatever_bytes_came() -> None:
    raw = b"Message-ID: <\xff\xfe@x>\nReturn-Path: <\xff@example.org>\n\n"
    envelope = made(raw, recipients=("\udcff@example.org",))
    assert Facts.decode(Facts(envelope).encode()).envelope == envelope


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"<a.b@example.org>", "a.b@example.org"),
        (b" <a\r\n b@example.org> ", "ab@example.org"),
        (b"plain", "plain"),
        (b"<a@example.org> (added by postmaster@example.org)", "a@example.org"),
        (b"<a@example.org> <b@example.org>", "a@example.org"),
        (b"<a@example.org", "a@example.org"),
        (b"", None),
        (b"<>", None),
    ],
)
def test_message_id_is_kept_without_blanks_and_brackets(field: bytes, expected: str | None) -> None:
    assert message_id_of(READER.read(b"Message-ID: " + field + b"\r\n\r\n")) == expected


def test_ids_are_of_sender_and_bytes_and_of_the_time_only_where_nothing_else_tells_mails_apart() -> None:
    known = b"Message-ID: <1@example.org>\n\nhello"
    timeless = b"Subject: hello\n\nhello"
    assert made(known, at=NOON).mail_id == made(known, at=NOON + 1).mail_id
    assert made(b"Received: by mx; x\n\n", at=NOON).mail_id == made(b"Received: by mx; x\n\n", at=NOON + 1).mail_id
    assert made(timeless, at=NOON).mail_id != made(timeless, at=NOON + 1).mail_id
    assert made(known, "ann@example.org").mail_id != made(known, "").mail_id != made(known).mail_id


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (" Sun, 1 Mar 2026 13:00:00 +0100 (CET)", "2026-03-01T12:00:00.000Z"),
        ("1 Mar 26 12:00:00 GMT", "2026-03-01T12:00:00.000Z"),
        ("Sun Mar  1 12:00:00 2026", "2026-03-01T12:00:00.000Z"),
        ("Sun, 1 Mar 2026 12:00:00", "2026-03-01T12:00:00.000Z"),
        ("Sun, 1 Mar 1926 12:00:00 +0000", None),
        ("1 Mar 99999 12:00:00 +0000", None),
        ("1 Mar 2026 12:00:00 +" + "9" * 5000, None),
        (", : ; :", None),
        ("\x00", None),
        ("", None),
    ],
)
def test_dates_are_read_or_are_none(date: str, expected: str | None) -> None:
    found = date_ms(date)
    assert (None if found is None else rfc3339(found)) == expected


def test_the_receive_time_is_that_of_the_topmost_received_with_a_readable_date() -> None:
    raw = (
        b"Received: from a by b\r\nReceived: from a by b; tomorrow\r\n"
        b"Received: from a by b; Sun, 1 Mar 2026\r\n 12:00:00 +0000\r\nReceived: from c by a; Sun, 1 Feb 2026 12:00:00 +0000\r\n\r\n"
    )
    assert received_ms(READER.read(raw)) == NOON


def test_a_foreign_record_is_read_from_the_mail_alone() -> None:
    raw = b"Return-Path: <Ann@example.org>\nReceived: by mx; Sun, 1 Mar 2026 12:00:00 +0000\nMessage-ID: <1@x>\n\nhello\n"
    envelope = foreign_envelope(raw, NOON + 5, READER)
    assert (envelope.sender, envelope.recipients, envelope.via) == ("ann@example.org", (), "foreign")
    assert (envelope.received_at, envelope.message_id, envelope.size) == ("2026-03-01T12:00:00.000Z", "1@x", len(raw))
    assert envelope.mail_id == made(raw).mail_id


def test_a_foreign_record_without_a_date_was_received_when_the_log_appended_it() -> None:
    assert foreign_envelope(b"", NOON, READER).received_at == "2026-03-01T12:00:00.000Z"
    assert foreign_envelope(b"\x00" * 1000, NOON, READER) == foreign_envelope(b"\x00" * 1000, NOON, READER)
