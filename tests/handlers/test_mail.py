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


def test_a_blank_before_a_colon_ends_no_header() -> None:
    """To the standard library it does: what follows would be the first of the text."""
    seen = mail(b"From: ada@example.org\r\nX-Note : see below\r\n status invalid\r\nSubject\t: hello : you\r\n\r\nbody : as it was\r\n")
    assert (seen.message["subject"], seen.message["x-note"]) == ("hello : you", "see below status invalid")
    assert seen.message.get_content() == "body : as it was\r\n"
    assert mail(b"From : ada@example.org\nno field : here\n\nbody\n").message.get_content() == "no field : here\n\nbody\n"


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


def test_what_an_old_kind_of_signature_covers_is_signed_text_where_it_proves_the_sender() -> None:
    """Where `openpgp_legacy` has such a mail count as unsigned, no handler is to take it for signed."""
    ours = facts(RAW, signed=True)
    assert ours.authentication
    assert ours.authentication.openpgp
    old = ours.authentication.openpgp | {"signatures": [one | {"legacy": True} for one in ours.authentication.openpgp["signatures"]]}
    for method, text in (("openpgp", "body\n"), ("dkim", None), (None, None)):
        assert Mail(ours.having(authentication=replace(ours.authentication, openpgp=old, method=method)), RAW).signed_text == text


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


ADDRESSES = {
    "quotes": '"' * 65_000,
    "dots": "." * 65_000,
    "backslashes": "\\" * 65_000,
    "commas": "," * 65_000,
    "words": "w " * 32_000 + "<a@b.c>",
    "labels": "a@b" + ".b" * 32_000,
    "quoted words": '"",' * 21_000,
    "short addresses": "a@b," * 16_000,
    "a group": "g:" + "a@b," * 16_000,
}


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("field", ["To", "Resent-Reply-To"])
def test_a_long_address_field_is_made_short_before_it_is_read(field: str, name: str) -> None:
    """What it would take the library minutes to read, because the time goes with the square of the length."""
    assert len(str(parse(f"{field}: {ADDRESSES[name]}\n\n".encode())[field])) <= 8192


def test_a_long_list_of_people_keeps_its_addresses() -> None:
    """A list beyond 4 KiB loses the names, one beyond 8 KiB of bare addresses its end; no address is one that nobody wrote."""
    people = [f"p{number}@example.org" for number in range(1000)]

    def read(count: int) -> list[tuple[str, str]]:
        message = parse(("To: " + ",\n ".join(f'"Person, {one}" <{one}>' for one in people[:count]) + "\n\n").encode())
        return [(address.display_name, address.addr_spec) for address in message["to"].addresses]

    assert read(50) == [(f"Person, {one}", one) for one in people[:50]]
    assert read(200) == [("", one) for one in people[:200]]
    many = [one for _, one in read(1000)]
    assert many == people[: len(many)]
    assert len(many) > 350


def test_a_cut_makes_no_address() -> None:
    """Wherever the field ends, a@bank.example is not what stands there."""
    for length in range(4060, 4110):
        sender = parse(f"From: {'w' * length} <a@bank.example.evil.example>\n\n".encode())["from"]
        assert {address.addr_spec for address in sender.addresses} == {"a@bank.example.evil.example"}


def test_a_thousand_parts_that_each_take_long_to_read_are_not_all_read() -> None:
    """What is read of one mail has an end, and the fields behind it are empty. The first may be read as often as one likes."""
    parts = b"".join(b"--b\nContent-Type: text/x%d; name=" % number + b'"' * 2000 + b"\n\nx\n" for number in range(1000))
    message = parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + parts)
    for _ in range(2):
        types = [str(part["content-type"]) for part in message.iter_parts()]
        assert types[0].startswith("text/x0")
        assert 30 < sum(map(bool, types)) < 100


def test_two_thousand_attachments_keep_their_names() -> None:
    """An honest mail does not come to that end."""
    parts = b"".join(b'--b\nContent-Type: application/pdf; name="report-%d.pdf"\n\nx\n' % number for number in range(2000))
    message = parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + parts)
    assert [part.get_filename() for part in message.iter_parts()] == [f"report-{number}.pdf" for number in range(2000)]


MULTIPART = b"Subject: many\nContent-Type: multipart/mixed; boundary=b\n\n"
NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number) for number in range(19))


@pytest.mark.parametrize(
    "raw",
    [
        MULTIPART + b"--b\n\n" * 2_080_000,
        MULTIPART + b"--b\n\nx\n" * 1_490_000,
        MULTIPART + b"--b\r\rx\r" * 1_490_000,
        MULTIPART + b"--b\n\n" * 10_001,
        MULTIPART + b"--b\n" + b":\n" * 3_000_000,
        MULTIPART + NESTED * 2 + b"x\n" * 100_000,
        b"Subject: many\nContent-Type: message/delivery-status\n\n" + b"a: b\n\n" * 100_000,
    ],
    ids=["empty", "short", "cr", "10,001", "defects", "nested", "delivery-status"],
)
def test_a_mail_of_a_million_parts_is_a_header_and_a_text(raw: bytes) -> None:
    """Each part, line and defect would be an object: half a minute, and 700 MB to 5 GB."""
    message = parse(raw)
    assert message["subject"] == "many"
    assert len(list(message.walk())) == 1
    assert len(message.get_payload()) == len(raw) - len(raw.replace(b"\r", b"\n").partition(b"\n\n")[0]) - 2


def test_what_is_only_long_is_read_as_parts() -> None:
    """Ten thousand parts, 19 levels, lines that look like boundaries and a million lines of a few words are no reason to give up."""
    assert len(list(parse(MULTIPART + b"--b\n\nx\n" * 10_000).walk())) == 10_001
    assert len(list(parse(NESTED + b"x\n").walk())) == 20
    text = parse(MULTIPART + b"--b\n\n" + b"--- a\n" * 20_000 + b"some words of a line\n" * 1_000_001).get_body()
    assert text is not None
    assert len(text.get_content()) > 21_000_000


def test_a_part_keeps_few_of_its_defects() -> None:
    """Each line of it can be one."""
    part = next(parse(MULTIPART + b"--b\n" + b":\n" * 10_000).iter_parts())
    assert len(part.defects) == 100
