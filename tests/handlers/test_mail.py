"""What a handler sees of a mail."""

from dataclasses import replace
from typing import Any

import pytest

from handlers.mail import Mail
from handlers.message import parse
from handlers.testkit import Said, call, facts, mail
from tests.corpora import CorpusMail, corpus
from topology.facts import Replay
from topology.ports import Account

RAW = b"From: Ada <Ada@Example.org>\nSubject: hello\n\nbody\n"


def test_a_mail_says_who_and_where() -> None:
    """Addresses as compared, the account, and what the pattern caught."""
    ada = Account("ada", "Ada Lovelace")
    seen = mail(RAW, recipient="42@BUGS.example.org", account=ada, captures={"number": "42"}, envelope_sender="<>")
    assert seen.raw == RAW
    assert (seen.sender, seen.envelope_sender, seen.recipient) == ("ada@example.org", "", "42@bugs.example.org")
    assert seen.account
    assert (seen.account.id, seen.account.name, seen.strength) == ("ada", "Ada Lovelace", "weak")
    assert seen.captures == {"number": "42"}
    assert seen.message["subject"] == "hello"


def test_a_stranger_has_no_account() -> None:
    """And nothing is signed."""
    seen = mail(RAW)
    assert (seen.account, seen.strength, seen.signed_text) == (None, "unknown", None)


def test_captures_are_a_copy() -> None:
    """A handler that changes them changes nobody's facts."""
    seen = mail(RAW, captures={"number": "42"})
    seen.captures["number"] = "7"
    assert seen.captures == {"number": "42"}


def test_the_key_is_the_delivery_and_in_a_redo_its_generation_too() -> None:
    """A plain replay keeps the key, so that what was done is not done again."""
    known = facts(RAW, recipient="box@foo.example")
    assert known.route
    plain = Mail(known.having(replay=Replay(3)), RAW)
    redo = Mail(known.having(replay=Replay(3, redo=True)), RAW)
    assert plain.idempotency_key == plain.delivery_id == known.route.delivery_id
    assert redo.idempotency_key == f"{known.route.delivery_id}.3"
    assert redo.generation == 3


@pytest.mark.parametrize(
    ("known", "word"),
    [
        ({"signed": True}, ("handled", None)),
        ({"account": Account("ada", "Ada")}, ("returned", "strong-required")),
        ({}, ("returned", "strong-required")),
    ],
    ids=["strong", "weak", "unknown"],
)
def test_a_single_command_may_demand_a_proved_sender(known: dict[str, Any], word: tuple[str, str | None]) -> None:
    """Whoever is not proved is told how to be, and has not been refused."""

    def handle(seen: Mail) -> None:
        seen.demand_strong()

    said = call(handle, mail(RAW, **known))
    assert isinstance(said, Said)
    assert (said.status, said.reason) == word


def test_signed_text_is_what_a_key_of_the_account_signed() -> None:
    """A good signature by anybody else's key is no signature of this sender."""
    ours = facts(RAW, signed=True)
    assert Mail(ours, RAW).signed_text == "body\n"
    assert ours.authentication
    foreign = replace(ours.authentication, account_fingerprints=("F00D" * 10,))
    assert Mail(ours.having(authentication=foreign), RAW).signed_text is None
    unjudged = replace(ours.authentication, openpgp={"judged": False})
    assert Mail(ours.having(authentication=unjudged), RAW).signed_text is None


# -- hostile bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", corpus("malformed", "plain", "bounces"), ids=lambda one: one.id)
def test_no_mail_of_the_corpus_raises(one: CorpusMail) -> None:
    """Every field of every part, and the text of every part that is text."""
    message = parse(one.raw)
    for part in message.walk():
        for name in part.keys():  # noqa: SIM118 - a message is no mapping, and its own __iter__ gives each name again
            str(part[name])
        if part.get_content_maintype() == "text" and not part.is_multipart():
            assert isinstance(part.get_content(), str)
    message.get_body()


HOSTILE = {
    "nothing": b"",
    "deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(10_000)),
    "brackets": b"To: " + b"(" * 100_000 + b"\n\n",
    "parameters": b"Content-Type: a/b; " + b"x=y;" * 250_000 + b"\n\n",
    "disposition": b"Content-Disposition: " + b"((" * 50_000 + b"\n\n",
    "charset": b"Content-Type: text/plain; charset=nosuchcharset\n\n\xff\xfe",
    "codec": b"Content-Type: text/plain; charset=zip\n\nxxx",
    "charset-nul": b'Content-Type: text/plain; charset="\0"\n\nxxx',
    "rfc2231": b"Content-Type: text/plain; charset*=nosuch'en'%ff\n\nxxx",
    "date": b"Date: " + b"9" * 100_000 + b"\n\n",
    "words": b"Subject: " + b"=?utf-8?q?=ff?= " * 60_000 + b"\n\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_raise_nothing(name: str) -> None:
    """What the standard library raises on, or takes seconds for, is an empty or a shorter field."""
    message = parse(HOSTILE[name])
    for field in ("to", "content-type", "content-disposition", "date", "subject"):
        str(message[field])
    assert message.get_content_type()
    assert message.is_attachment() in (True, False)
    if message.get_content_maintype() == "text":
        assert isinstance(message.get_content(), str)


def test_text_in_an_unknown_charset_is_read_as_utf8() -> None:
    """Rather than not at all."""
    assert parse("Content-Type: text/plain; charset=x-unknown\n\nGrüße".encode()).get_content() == "Grüße"
