"""What clients of the LMTP and SMTP listeners hear, and what then stands in the log."""

import smtplib

import pytest

from streams.errors import Full, TooLarge, Transient
from tests.ingest.client import Client
from tests.ingest.listening import Listening
from tests.ingest.place import MAIL, Place, numbered


def test_a_real_client_hands_over_by_lmtp(lmtp: Listening, place: Place) -> None:
    host, _, port = lmtp.address.rpartition(":")
    with smtplib.LMTP(host, int(port)) as client:
        assert client.sendmail("Ann@Example.org", ["Bugs@Example.org"], MAIL) == {}
    (facts,) = place.facts()
    assert (facts.envelope.sender, facts.envelope.recipients) == ("ann@example.org", ("Bugs@Example.org",))
    assert facts.envelope.via == "lmtp"
    assert place.mails() == [MAIL]


def test_a_real_client_hands_over_by_smtp(smtp: Listening, place: Place) -> None:
    host, _, port = smtp.address.rpartition(":")
    with smtplib.SMTP(host, int(port)) as client:
        assert client.sendmail("ann@example.org", ["bugs@example.org"], MAIL) == {}
        assert client.sendmail("bär@example.org", ["bugs@bücher.example"], MAIL, ["SMTPUTF8", "BODY=8BITMIME"]) == {}
    assert [facts.envelope.sender for facts in place.facts()] == ["ann@example.org", "bär@example.org"]
    assert place.facts()[1].envelope.recipients == ("bugs@bücher.example",)


def test_lmtp_answers_once_for_each_recipient_that_was_accepted(lmtp: Listening, place: Place) -> None:
    with Client(lmtp.address) as client:
        client.greet()
        client.ask(b"MAIL FROM:<ann@example.org>")
        assert client.ask(b"RCPT TO:<nonsense>").startswith("553 5.1.3")
        client.ask(b"RCPT TO:<a@example.org>")
        client.ask(b"RCPT TO:<b@example.org>")
        client.ask(b"RCPT TO:<a@example.org>")
        client.ask(b"DATA")
        client.say(MAIL + b".\r\n")
        mail_id = place.facts()[0].envelope.mail_id if (first := client.hear()) else ""
        assert [first, client.hear(), client.hear()] == [f"250 2.0.0 stored as {mail_id}"] * 3
        assert client.ask(b"NOOP").startswith("250 ")
    assert [facts.envelope.recipients for facts in place.facts()] == [("a@example.org", "b@example.org")]


def test_a_lost_answer_and_the_same_hand_over_for_one_of_three_again(lmtp: Listening, place: Place) -> None:
    """E6: one mail id, so the bounce filter sees the recipient that was here before; and a whole repeat is none at all."""
    for recipients in ((b"a@example.org", b"b@example.org", b"c@example.org"), (b"c@example.org",), (b"c@example.org",)):
        with Client(lmtp.address) as client:
            client.greet().envelope(*recipients).say(MAIL + b".\r\n")
            client.hear()
    facts = place.facts()
    assert sorted(one.envelope.recipients for one in facts) == [("a@example.org", "b@example.org", "c@example.org"), ("c@example.org",)]
    assert len({one.envelope.mail_id for one in facts}) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b".\r\n",
        b"..\r\n",
        b"\r\n.\r\n",
        b"text\r\n.\r\n..\r\n.text\r\n\r\n.\r\n",
        b"\x00\xff\xfe bytes \x80\r\n",
        b"a sentence.\r\n" * 100,
        b".\r\n" * 1000,
        b"x" * 90_000 + b"\r\n",
        b"." * 90_000 + b"\r\n",
        (b"y" * 65_533 + b".\r\n"),
        (b"y" * 65_535 + b"\r\n.\r\n"),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 7])
def test_bytes_arrive_as_sent(body: bytes, step: int, lmtp: Listening, place: Place) -> None:
    """E8: dot-stuffing undone, lines of any length, whatever pieces the network makes of them."""
    stuffed = (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    if step < 100 and len(stuffed) > 5000:
        step = 30_011
    with Client(lmtp.address) as client:
        client.greet().envelope()
        for at in range(0, len(stuffed), step):
            client.say(stuffed[at : at + step])
        assert client.hear().startswith("250 ")
    assert place.mails() == [body]


def test_pipelined_commands_and_mails_are_answered_in_order(lmtp: Listening, place: Place) -> None:
    one = b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n"
    with Client(lmtp.address) as client:
        client.greet()
        client.say(one + numbered(1) + b".\r\n" + one + numbered(2) + b".\r\nNOOP\r\nQUIT\r\n")
        client.finish_saying()
        heard = [client.hear()[:3] for _ in range(10)]
        assert heard == ["250", "250", "354", "250", "250", "250", "354", "250", "250", "221"]
        assert client.hung_up()
    assert sorted(place.mails()) == [numbered(1), numbered(2)]
    assert [facts.envelope.sender for facts in place.facts()] == ["", ""]


SECOND = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<a@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"


ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n", b"\n.\r", b"\r\r\n.\r\r\n"]
"""What some program takes for the end of a mail."""


@pytest.mark.parametrize("end", ENDS)
def test_no_second_mail_can_be_smuggled_into_a_first(end: bytes, lmtp: Listening, place: Place) -> None:
    """E8: a mail with a bare CR or LF is refused, with all that follows."""
    with Client(lmtp.address) as client:
        client.greet().envelope(b"a@example.org", b"b@example.org")
        client.say(b"Subject: first\r\n\r\ntext" + end + SECOND)
        heard = [client.hear()[:9], client.hear()[:9]]
        if b"\x00" in end:
            assert heard == ["250 2.0.0"] * 2
        else:
            assert heard == ["550 5.5.2"] * 2
            assert client.hung_up()
    for mail in place.mails():
        assert b"smuggled" in mail
        assert b"first" in mail
    assert len(place.records()) == (b"\x00" in end)


@pytest.mark.parametrize(
    "command", [b"NOOP\n", b"NOOP\rNOOP\r\n", b"NOOP\r\r\n", b"MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\r\n"]
)
def test_a_command_with_a_bare_line_end_ends_the_talk(command: bytes, lmtp: Listening) -> None:
    with Client(lmtp.address) as client:
        client.greet().say(command + b"NOOP\r\n")
        assert client.hear().startswith("500 5.5.2")
        assert client.hung_up()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"MAIL FROM:<>", "250 2.1.0"),
        (b"mail from: <Ann@Example.org> SIZE=1000 BODY=8BITMIME SMTPUTF8", "250 2.1.0"),
        (b'MAIL FROM:<"ann >b"@example.org>', "250 2.1.0"),
        ("MAIL FROM:<bär@bücher.example> SMTPUTF8".encode(), "250 2.1.0"),
        (b"MAIL FROM:<ann>", "553 5.1.7"),
        (b"MAIL FROM:<ann@example.org", "501 5.5.4"),
        (b"MAIL FROM:ann@example.org", "501 5.5.4"),
        (b"MAIL FROM:<\xff@example.org>", "553 5.1.7"),
        (b"MAIL FROM:<ann@example.org>SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:<a..b.@example.org>", "250 2.1.0"),
        (b"MAIL FROM:<@relay.example.org,@b.example.org:ann@example.org>", "250 2.1.0"),
        (b"MAIL FROM:<@relay.example.org:ann>", "553 5.1.7"),
        (b"MAIL TO:<ann@example.org>", "501 5.5.4"),
        (b"MAIL", "501 5.5.4"),
        (b"MAIL FROM:<ann@example.org> SIZE=100000", "250 2.1.0"),
        (b"MAIL FROM:<ann@example.org> SIZE=100001", "552 5.3.4"),
        (b"MAIL FROM:<ann@example.org> SIZE=" + b"9" * 20, "552 5.3.4"),
        (b"MAIL FROM:<ann@example.org> SIZE=" + b"9" * 1000, "501 5.5.4"),
        (b"MAIL FROM:<ann@example.org> SIZE=-1", "501 5.5.4"),
        (b"MAIL FROM:<ann@example.org> SIZE=\xc2\xb2", "501 5.5.4"),
        (b"MAIL FROM:<ann@example.org> SIZE", "501 5.5.4"),
        (b"MAIL FROM:<ann@example.org> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<ann@example.org> RET=HDRS", "555 5.5.4"),
        (b"RCPT TO:<a@example.org>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"EHLO client.example.org", "500 5.5.1"),
        (b"HELO client.example.org", "500 5.5.1"),
        (b"LHLO", "501 5.5.4"),
        (b"BDAT 10 LAST", "500 5.5.1"),
        (b"STARTTLS", "500 5.5.1"),
        (b"AUTH PLAIN", "500 5.5.1"),
        (b"VRFY ann", "252 2.1.5"),
        (b"", "500 5.5.1"),
        (b"\xff\xfe\x00", "500 5.5.1"),
    ],
)
def test_commands_and_their_answers(command: bytes, answer: str, lmtp: Listening) -> None:
    with Client(lmtp.address) as client:
        assert client.greet().ask(command)[:9] == answer
        assert client.ask(b"RSET").startswith("250 ")


def test_the_postmaster_needs_no_domain(lmtp: Listening, place: Place) -> None:
    """RFC 5321 section 4.5.1."""
    with Client(lmtp.address) as client:
        client.greet().envelope(b"PostMaster", b"Postmaster@example.org").say(MAIL + b".\r\n")
        assert [client.hear()[:3] for _ in range(2)] == ["250"] * 2
    first, second = place.facts()[0].envelope.recipients
    assert first.startswith("PostMaster@")
    assert second == "Postmaster@example.org"


def test_a_hundred_recipients_and_no_more(lmtp: Listening, place: Place) -> None:
    with Client(lmtp.address) as client:
        client.greet().ask(b"MAIL FROM:<ann@example.org>")
        heard = [client.ask(b"RCPT TO:<user%d@example.org>" % number) for number in range(102)]
        assert [one[:9] for one in heard] == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 2
        client.ask(b"DATA")
        client.say(MAIL + b".\r\n")
        assert [client.hear()[:3] for _ in range(100)] == ["250"] * 100
    assert len(place.facts()[0].envelope.recipients) == 100


@pytest.mark.parametrize(("octets", "answer"), [(100_000, "250"), (100_001, "552"), (5_000_000, "552")])
def test_a_mail_over_the_limit_is_refused_after_data_and_the_talk_goes_on(octets: int, answer: str, lmtp: Listening, place: Place) -> None:
    """S16. Dots that were doubled for the way do not count."""
    body = b".\r\n" * (octets // 3 - 1)
    body += b"x" * (octets - len(body) - 2) + b"\r\n"
    assert len(body) == octets
    with Client(lmtp.address) as client:
        client.greet().envelope(b"a@example.org", b"b@example.org")
        client.say((b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
        assert [client.hear()[:3], client.hear()[:3]] == [answer] * 2
        client.envelope().say(MAIL + b".\r\n")
        assert client.hear().startswith("250 ")
    assert len(place.records()) == (2 if answer == "250" else 1)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (Transient("away"), "451 4.3.0"),
        (Full("full"), "452 4.3.1"),
        (TooLarge("large"), "451 4.3.0"),
        (RuntimeError("a fault of ours; secret"), "451 4.3.0"),
    ],
)
def test_each_recipient_hears_that_the_log_is_away_and_not_why(error: Exception, answer: str, lmtp: Listening, place: Place) -> None:
    lmtp.log.error = error
    with Client(lmtp.address) as client:
        client.greet().envelope(b"a@example.org", b"b@example.org")
        client.say(MAIL + b".\r\n")
        heard = [client.hear(), client.hear()]
        assert [one[:9] for one in heard] == [answer] * 2
        assert "secret" not in heard[0]
        assert place.records() == []
        lmtp.log.error = None
        client.envelope().say(MAIL + b".\r\n")
        assert client.hear().startswith("250 ")


def test_a_mail_before_the_greeting_is_refused(lmtp: Listening) -> None:
    with Client(lmtp.address) as client:
        client.hear()
        assert client.ask(b"MAIL FROM:<ann@example.org>") == "503 5.5.1 send LHLO first"
        client.ask(b"LHLO x")
        client.ask(b"MAIL FROM:<ann@example.org>")
        assert client.ask(b"MAIL FROM:<ann@example.org>").startswith("503 ")


def test_what_is_offered(lmtp: Listening, smtp: Listening) -> None:
    with Client(lmtp.address) as client:
        client.hear()
        offers = client.ask(b"LHLO x").split("\n")[1:]
        assert [offer[4:] for offer in offers] == ["PIPELINING", "SIZE 100000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    with Client(smtp.address) as client:
        assert "ESMTP" in client.hear()
        assert client.ask(b"LHLO x").startswith("500 ")
        assert client.ask(b"HELO x").startswith("250 ")
