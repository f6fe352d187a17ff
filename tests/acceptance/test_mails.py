"""The first table of behaviours (A1 to A17): mails in, `run --drain`, outcomes out, on the whole program."""

import os

import pytest

from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place

STRANGER = "No Body <nobody@nowhere.org>"
FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}
BAR = {"use": "maildir", "path": "bar/", "domains": ["bar.com"], "allow_unknown_senders": True}


@pytest.fixture
def place(make: MakePlace) -> Place:
    """Handlers for foo.com and bar.com; bar.com allows unknown senders."""
    return make(handlers={"foo": FOO, "bar": BAR})


def test_a1_the_domain_picks_the_handler_whatever_its_case(place: Place, letter: Letters) -> None:
    mails = {
        place.mail(letter(to), "--recipient", to): name
        for to, name in [("123@foo.com", "foo"), ("123@bar.com", "bar"), ("123@FOO.COM", "foo")]
    }
    place.drain()
    for mail_id, name in mails.items():
        row = place.outcome(mail_id)
        assert (row["status"], row["reason"], row["handler"]) == ("handled", None, name)
    assert (len(place.maildir("foo")), len(place.maildir("bar"))) == (2, 1)
    assert place.outcomes("--recipient", "123@FOO.com") == [row for row in place.outcomes() if row["handler"] == "foo"]


def test_a2_without_an_envelope_to_and_cc_decide_and_friends_are_left_out(place: Place, letter: Letters) -> None:
    mail_id = place.mail(letter("123@foo.com", fields="Cc: friend@elsewhere.org, 9@bar.com\n"))
    place.drain()
    assert {(row["recipient"], row["status"]) for row in place.outcomes()} == {("123@foo.com", "handled"), ("9@bar.com", "handled")}
    assert place.show(mail_id)["warnings"] == ["no-original-recipient"]
    warned = [line for line in place.stderr.splitlines() if "no-original-recipient" in line]
    place.run("list")
    assert warned == [] or mail_id in warned[0]


def test_a2_the_warning_is_one_line_with_level_mail_id_and_code(place: Place, letter: Letters) -> None:
    mail_id = place.mail(letter("123@foo.com"))
    place.drain()
    lines = [line for line in place.stderr.splitlines() if mail_id in line]
    assert len(lines) == 1
    assert lines[0].startswith("WARNING")
    assert "no-original-recipient" in lines[0]


def test_a3_a_mail_that_no_handler_takes_comes_back_as_an_oops(place: Place, letter: Letters) -> None:
    original = letter("123@baz.com")
    mail_id = place.mail(original)
    place.drain()
    row = place.outcome(mail_id)
    assert (row["status"], row["reason"], row["recipient"], row["reply"]) == ("failed", "no-handler", None, "sent")
    oops_id = row["oops_id"]
    assert oops_id.startswith("OOPS-")
    assert len(oops_id) == 37
    report = place.lines("oops", oops_id)[0]
    assert mail_id in str(report)
    assert place.run("show", mail_id, "--raw") == original.encode()
    (reply,) = place.outbox()
    assert reply.get_content_type() == "multipart/mixed"
    assert reply["To"] == "test@canonical.com"
    first, last = reply.iter_parts()
    words = first.get_content()
    assert "sorry, something went wrong" in words.replace("\n", " ")
    assert oops_id in words
    assert "https://help.example.org/" in words
    assert last.get_content_type() == "message/rfc822"
    assert last.get_content()["Subject"] == "case 1"


def test_a3_several_envelope_recipients_of_no_handler_are_one_oops(place: Place, letter: Letters) -> None:
    place.mail(letter("x@foo.com"), "--recipient", "1@baz.com", "--recipient", "2@baz.com", "--recipient", "3@foo.com")
    place.drain()
    failed = place.outcomes("--status", "failed")
    assert {row["recipient"] for row in failed} == {"1@baz.com", "2@baz.com"}
    assert len({row["oops_id"] for row in failed}) == 1
    (reply,) = place.outbox()
    words = next(reply.iter_parts()).get_content()
    assert "1@baz.com" in words
    assert "2@baz.com" in words


def test_a4_a5_a_stranger_is_heard_only_where_strangers_are_allowed(place: Place, letter: Letters) -> None:
    refused = place.mail(letter("123@foo.com", STRANGER))
    heard = place.mail(letter("123@bar.com", STRANGER))
    place.drain()
    assert place.word(refused) == ("rejected", "unknown-sender")
    assert place.word(heard) == ("handled", None)
    assert place.outcome(refused)["reply"] is None
    assert not place.outbox()


def test_a6_an_inactive_account_is_rejected_silently_signed_or_not(place: Place, letter: Letters) -> None:
    gone = "Gone Person <gone@canonical.com>"
    broken = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhello\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n"
    )
    mails = [place.mail(letter("123@foo.com", gone)), place.mail(letter("123@foo.com", gone, body=broken))]
    place.drain()
    assert [place.word(mail_id) for mail_id in mails] == [("rejected", "inactive-account")] * 2
    assert not place.outbox()


def test_a7_the_original_recipient_goes_before_to_and_cc(place: Place, letter: Letters) -> None:
    mail_id = place.mail(letter("123@foo.com", fields="Cc: 1@foo.com\nX-Original-To: 123@bar.com\nX-Original-To: 5@foo.com\n"))
    place.drain()
    assert place.outcome(mail_id)["handler"] == "bar"
    assert (place.maildir("foo"), len(place.maildir("bar"))) == ([], 1)
    assert place.show(mail_id)["warnings"] == []


ROBOTS = [
    ("Return-Path: <>\n", [], "null-sender"),
    ("", ["--sender", "<>"], "null-sender"),
    ("", ["--sender", ""], "null-sender"),
    ("Content-Type: multipart/report; boundary=b\n", [], "delivery-report"),
    ("Content-Type: multipart/report; boundary=b\nReturn-Path: <a@b.org>\n", [], "delivery-report"),
    ("Precedence: bulk\n", [], "precedence"),
    ("Precedence: anything\nReturn-Path: \n", [], "precedence"),
    ("Precedence: bulk\nReturn-Path: <>\n", [], "null-sender"),
    ("Precedence: bulk\nContent-Type: multipart/report\n", [], "delivery-report"),
    ("Auto-Submitted: auto-replied\n", [], "auto-submitted"),
]


def test_a12_to_a14_robots_are_dropped_silently_in_the_order_of_the_rows(place: Place, letter: Letters) -> None:
    expected = {place.mail(letter("123@foo.com, 1@baz.com", fields=fields), *args): reason for fields, args, reason in ROBOTS}
    place.drain()
    rows = place.outcomes()
    assert {row["mail_id"]: row["reason"] for row in rows} == expected
    assert {(row["status"], row["reply"], row["oops_id"]) for row in rows} == {("dropped", None, None)}
    assert not place.outbox()
    assert not place.maildir("foo")


def test_a14_no_readable_envelope_sender_is_not_the_null_sender(place: Place, letter: Letters) -> None:
    paths = ("Return-Path:\n", "Return-Path: <broken\n", "Return-Path: <a@b.org>\nReturn-Path: <>\n", "")
    ids = [line["mail_id"] for line in place.imported([letter("123@foo.com", fields=path) for path in paths])]
    place.drain()
    rows = {row["mail_id"]: row for row in place.outcomes()}
    assert [rows[id_]["status"] for id_ in ids] == ["handled"] * 4
    assert [rows[id_]["envelope_sender"] for id_ in ids] == [None, None, "a@b.org", None]


def test_a15_what_cannot_be_read_is_left_out(place: Place, letter: Letters) -> None:
    nowhere = place.mail(letter("undisclosed-recipients:;"))
    broken = place.mail(letter("a@@foo.com, b@", fields="Cc: <<>\n"))
    quoted = place.mail(letter('"a@baz.com"@foo.com'))
    broken_cc = place.mail(letter("1@foo.com", fields='Cc: "unclosed <x@bar.com\n'))
    place.drain()
    assert place.word(nowhere) == place.word(broken) == ("rejected", "no-recipient")
    assert place.outcome(quoted)["recipient"] == '"a@baz.com"@foo.com'
    assert place.outcome(broken_cc)["recipient"] == "1@foo.com"
    assert not place.outbox()
    assert place.outcome(nowhere)["oops_id"] is None


def test_a16_the_name_of_the_header_in_the_body_counts_for_nothing(place: Place, letter: Letters) -> None:
    bodies = ("X-Original-To: 9@bar.com\n\nhello", "> X-ORIGINAL-TO : 9@bar.com", 'add "X-Original-To"')
    mail_ids = [place.mail(letter("123@foo.com", body=body)) for body in bodies]
    plain = place.mail(letter("123@foo.com", body="Original-To"))
    place.drain()
    for mail_id in mail_ids:
        assert place.outcome(mail_id)["handler"] == "foo"
        assert place.show(mail_id)["warnings"] == ["no-original-recipient", "original-recipient-in-body"]
    assert place.show(plain)["warnings"] == ["no-original-recipient"]


def test_a17_an_attached_mail_decides_nothing(place: Place, letter: Letters) -> None:
    inner = "Return-Path: <>\nPrecedence: bulk\nFrom: gone@canonical.com\nTo: 1@bar.com\nX-Original-To: 2@bar.com\n\nhi\n"
    fields = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n'
    mail_id = place.mail(letter("123@foo.com", fields=fields, body=f"--b\nContent-Type: message/rfc822\n\n{inner}\n--b--\n"))
    place.drain()
    row = place.outcome(mail_id)
    assert (row["status"], row["handler"], row["sender"]) == ("handled", "foo", "test@canonical.com")


@pytest.mark.parametrize("way", ["pipe", "import"])
def test_a11_while_the_archive_cannot_be_written_nothing_is_taken_and_nothing_lost(make: MakePlace, letter: Letters, way: str) -> None:
    place = make(handlers={"foo": FOO}, sections={"archive": {"url": "file:blocked/archive/", "inline_limit": 0}})
    place.write("blocked", "a regular file")
    mail = letter("123@foo.com").encode()
    file = place.folder / "mail.eml"
    file.write_bytes(mail)
    if way == "pipe":
        place.run("pipe", "--recipient", "123@foo.com", data=mail, status=75)
    else:
        place.run("import", str(file), status=75)
    assert "archive" in place.stderr
    assert file.exists()
    place.drain()
    assert not place.outcomes()
    assert not place.outbox()
    (place.folder / "blocked").unlink()
    for _ in range(2):
        if way == "pipe":
            place.run("pipe", "--recipient", "123@foo.com", data=mail)
        else:
            place.run("import", str(file))
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"]
    assert place.fsck()["lost"] == 0
    assert os.listdir(place.folder / "foo" / "new")
