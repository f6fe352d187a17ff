"""The bounce filter's rules, one by one and on real mails."""

import pytest

from tests.corpora import CorpusMail, corpus
from topology import envelope
from topology.facts import Envelope
from topology.head import Head, HeadReader
from topology.screening import Screen

READER = HeadReader()
SCREEN = Screen()
PERSON = "From: a@x.org\nTo: b@y.org\n"


def read(raw: bytes, sender: str | None = None) -> tuple[Head, Envelope]:
    head = READER.read(raw)
    return head, envelope.build(head, sender=sender, recipients=(), received_ms=0, via="import", size=len(raw), digest="00" * 32)


CASES = [
    ("", None),
    ("Return-Path: <>\n", "null-sender"),
    ("Return-Path: <>\nContent-Type: multipart/report\nPrecedence: bulk\n", "null-sender"),
    # An empty, broken or absent Return-Path is no envelope sender, and not the null sender; of several the topmost counts.
    ("Return-Path:\n", None),
    ("Return-Path: <broken\n", None),
    ("Return-Path: <a@x.org>\nReturn-Path: <>\n", None),
    ("Content-Type: multipart/report; report-type=delivery-status\n", "delivery-report"),
    ("Content-Type:\n MULTIPART/Report\n", "delivery-report"),
    ("Content-Type: (a comment) multipart/report\n", "delivery-report"),
    ("Content-Type: multipart / report; boundary=x\n", "delivery-report"),
    ("Content-Type: multipart (c) / report\n", "delivery-report"),
    ("Content-Type: multipart/reporting\n", None),
    ("Content-Type: multipart/report\nPrecedence: bulk\n", "delivery-report"),
    ("Precedence: bulk\n", "precedence"),
    ("Precedence:\n", "precedence"),
    ("precedence: first-class\n", "precedence"),
    ("Auto-Submitted: no\n", None),
    ("Auto-Submitted: No (really)\n", None),
    ("Auto-Submitted:\n", "auto-submitted"),
    ("Auto-Submitted: auto-replied; owner-email=a@x.org\n", "auto-submitted"),
    ("Auto-Submitted: auto-generated\n", "auto-submitted"),
    ("X-Autoreply: yes\n", "robot"),
    ("X-Autoreply: no\n", None),
    ("X-Failed-Recipients: b@y.org\n", "robot"),
    ("X-MS-Exchange-Inbox-Rules-Loop: b@y.org\n", "robot"),
    ("Return-Path: <MAILER-DAEMON@x.org>\n", "robot"),
    ("X-Postroom-Reply: 0123\n", "loop"),
    ("Received: x\n" * 50, None),
    ("Received: x\n" * 51, "loop"),
    ("List-Id: <a.x.org>\n", None),
]


@pytest.mark.parametrize(("fields", "rule"), CASES)
def test_a_field_makes_its_rule_fire(fields: str, rule: str | None) -> None:
    finding = SCREEN(*read((fields + PERSON + "\nhello\n").encode()))
    assert (finding.rule if finding else None) == rule


@pytest.mark.parametrize(
    "author",
    [
        "mailer-daemon",
        "MAILER-DAEMON",
        "postmaster",
        "no-reply",
        "noreply",
        "do-not-reply",
        "donotreply",
        "no_reply",
        "bounces",
        "bounce+x=y",
        "drive-shares-noreply",
        "x_do-not-reply",
    ],
)
def test_robots_are_known_by_their_name(author: str) -> None:
    finding = SCREEN(*read(f"From: Somebody <{author}@x.org>\nTo: b@y.org\n\nhello\n".encode()))
    assert finding
    assert (finding.rule, finding.field) == ("robot", f"From: Somebody <{author}@x.org>")


@pytest.mark.parametrize("author", ["noreen", "daemon.jones", "reply", "postmasters", "bouncer", "nora.reply", "dreply"])
def test_people_with_such_names_are_not_robots(author: str) -> None:
    assert SCREEN(*read(f"From: {author}@x.org\nTo: b@y.org\n\nhello\n".encode())) is None


def test_the_null_sender_of_the_envelope_counts_as_that_of_the_header() -> None:
    finding = SCREEN(*read((PERSON + "\nhello\n").encode(), sender=""))
    assert finding
    assert (finding.rule, finding.field) == ("null-sender", "MAIL FROM: <>")


def test_only_the_outer_mail_decides() -> None:
    """A17: what stands in an attached mail, or anywhere in the body, fires nothing."""
    assert SCREEN(*read((PERSON + "Content-Type: message/rfc822\n\nReturn-Path: <>\nPrecedence: bulk\n\nhello\n").encode())) is None


def test_each_rule_has_a_switch_and_what_it_lets_through_is_still_not_answered() -> None:
    open_screen = Screen({"precedence": False, "list": True})
    mail = read(("Precedence: bulk\n" + PERSON + "\nhello\n").encode())
    assert open_screen(*mail) is None
    assert open_screen.silence(*mail) == "precedence"
    listed = open_screen(*read(("List-Id: <x>\n" + PERSON + "\n").encode()))
    assert listed
    assert listed.rule == "list"
    with pytest.raises(ValueError, match="no such rule: presedence"):
        Screen({"presedence": False})


SILENT = [
    ("List-Unsubscribe: <mailto:x>\n", "list"),
    ("Mailing-List: list x@y.org; contact z@y.org\n", "list"),
    ("X-Mailing-List: <x@y.org>\n", "list"),
    ("X-Auto-Response-Suppress: All\n", "suppressed"),
    ("X-Loop: yes\n", "suppressed"),
    ("Subject: Out of office: back on Monday\n", "automatic-subject"),
    ("Subject: =?utf-8?B?RGVsaXZlcnkgZmFpbHVyZSBub3RpZmljYXRpb25=?=\n", "automatic-subject"),
    ("Subject: The lift does not work\n", None),
]


@pytest.mark.parametrize(("fields", "sign"), SILENT)
def test_weaker_signs_only_keep_us_silent(fields: str, sign: str | None) -> None:
    mail = read((fields + PERSON + "\nhello\n").encode())
    assert SCREEN(*mail) is None
    assert SCREEN.silence(*mail) == sign


def test_of_real_bounces_at_least_98_percent_are_dropped() -> None:
    mails = corpus("bounces")
    dropped = [mail for mail in mails if SCREEN(*read(mail.raw))]
    assert len(dropped) >= 0.98 * len(mails) - 3  # the three hardest of the whole corpus are among those kept here


PLAIN_ROBOTS = {
    "plain/flanker-long-links": "robot",  # From: postmaster
    "plain/rspamd-transactional": "robot",  # From: noreply
    "plain/rubymail-plain_emails-raw_email_trailing_dot": "robot",  # From: noreply
    "plain/mimekit-content-length-000": "null-sender",
}


@pytest.mark.parametrize("mail", corpus("plain"), ids=lambda mail: mail.id)
def test_of_real_plain_mails_none_is_dropped_but_those_of_robots(mail: CorpusMail) -> None:
    finding = SCREEN(*read(mail.raw))
    assert (finding.rule if finding else None) == PLAIN_ROBOTS.get(mail.id)


@pytest.mark.parametrize("mail", corpus("autoreplies", "reports", "lists"), ids=lambda mail: mail.id)
def test_real_automatic_mails_are_dropped_or_never_answered(mail: CorpusMail) -> None:
    assert SCREEN(*read(mail.raw)) or SCREEN.silence(*read(mail.raw))
