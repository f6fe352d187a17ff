"""SMTP against a real server, in each of its moods."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from postroom.outbox import Letter, Verdict
from postroom.relay import Relay
from streams.faults import Hold
from tests.replies.cases import MAIL, facts
from tests.replies.parse import last_part, must_be_valid
from tests.replies.relays import Moods, free_port, knows, relay
from topology.replies import compose
from topology.replies.attach import Original

ANN = "ann@example.org"


def _letter(to: str = ANN, original: bytes = MAIL, text: str = "Sorry.\n.\n..dots\n") -> Letter:
    case = facts(sender=to, mail=original, detail=to)
    assert case.outcome
    message = compose.finished(case, "postroom@example.net", original, compose.notice(case, text))
    return Letter(compose.reply_id_of(case, case.outcome), to, message, True, Original(original, len(original)), "gone")


def _send(there: Relay, *letters: Letter) -> list[Verdict]:
    with there.opened() as send:
        return [send(letter) for letter in letters]


def test_letters_go_out_from_the_null_sender_over_one_connection() -> None:
    """R2; and what arrives is what was written, dots and all."""
    moods = Moods()
    letters = [_letter(f"{n}@example.org") for n in range(5)]
    with relay(moods) as port:
        assert [verdict.status for verdict in _send(Relay(f"smtp://127.0.0.1:{port}"), *letters)] == ["sent"] * 5
    assert [(taken.mail_from, taken.rcpt_to) for taken in moods.taken] == [("<>", [letter.to]) for letter in letters]
    assert [taken.content for taken in moods.taken] == [letter.written() for letter in letters]
    assert moods.connections == 1
    must_be_valid(moods.taken[0].content)


def test_nothing_to_send_makes_no_connection() -> None:
    """A batch may be all silence; the relay need not even be there."""
    assert _send(Relay(f"smtp://127.0.0.1:{free_port()}")) == []


def test_eight_bit_originals_are_declared() -> None:
    """RFC 6152."""
    moods = Moods()
    with relay(moods) as port:
        _send(Relay(f"smtp://127.0.0.1:{port}"), _letter(original=MAIL + b"gr\xfc\xdfe\n"))
    assert "BODY=8BITMIME" in moods.taken[0].options
    assert b"gr\xfc\xdfe" in moods.taken[0].content


def test_a_relay_without_8bitmime_gets_ascii() -> None:
    """The original then travels in base64."""

    class Old(Moods):
        async def handle_EHLO(self, server, session, envelope, hostname, responses):  # type: ignore[no-untyped-def] # noqa: N802
            responses = await super().handle_EHLO(server, session, envelope, hostname, responses)
            return [line for line in responses if "8BITMIME" not in line]

    moods = Old()
    original = MAIL + b"gr\xfc\xdfe\n"
    with relay(moods) as port:
        assert _send(Relay(f"smtp://127.0.0.1:{port}"), _letter(original=original))[0].status == "sent"
    content = moods.taken[0].content
    assert content.isascii()
    assert last_part(must_be_valid(content)).get_payload(decode=True) == original


def test_addresses_beyond_ascii_need_smtputf8() -> None:
    """RFC 6531: sent where it is offered, given up where not."""
    letter = _letter("j\u00f6rg@example.org")
    moods = Moods()
    with relay(moods, enable_SMTPUTF8=True) as port:
        assert _send(Relay(f"smtp://127.0.0.1:{port}"), letter)[0].status == "sent"
    assert moods.taken[0].rcpt_to == ["j\u00f6rg@example.org"]
    assert "SMTPUTF8" in moods.taken[0].options
    with relay(Moods(), enable_SMTPUTF8=False) as port:
        refused, sent = _send(Relay(f"smtp://127.0.0.1:{port}"), letter, _letter())
    assert (refused.status, sent.status) == ("refused", "sent")
    assert "SMTPUTF8" in refused.why


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("550 5.1.1 no such user", "refused"),
        ("553 5.7.1 not here", "refused"),
        ("450 4.2.0 greylisted", "later"),
        ("452 4.2.2 mailbox full", "later"),
    ],
)
def test_a_refusal_of_one_address_is_its_own(answer: str, status: str) -> None:
    """The letters behind it go out on the same connection; the why is the relay's answer in one line."""
    moods = Moods(rcpt={"bob@example.org": answer})
    with relay(moods) as port:
        first, bob, last = _send(Relay(f"smtp://127.0.0.1:{port}"), _letter(), _letter("bob@example.org"), _letter("cid@example.org"))
    assert (first.status, bob, last.status) == ("sent", Verdict(status, answer), "sent")  # type: ignore[arg-type]
    assert moods.connections == 1


@pytest.mark.parametrize(("answer", "status"), [("554 5.7.1 looks like spam", "refused"), ("451 4.7.1 try again", "later")])
def test_a_refusal_of_one_mail_is_its_own(answer: str, status: str) -> None:
    """Likewise after DATA."""
    moods = Moods(data={b"spam": answer})
    with relay(moods) as port:
        spam, last = _send(Relay(f"smtp://127.0.0.1:{port}"), _letter(text="spam"), _letter("cid@example.org"))
    assert (spam, last.status) == (Verdict(status, answer), "sent")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "moods",
    [
        Moods(rcpt={ANN: "421 4.3.2 shutting down"}),
        Moods(rcpt={ANN: "452 4.3.1 out of space"}),
        Moods(rcpt={ANN: "530 5.7.0 authentication required"}),
        Moods(data={b"Sorry": "421 shutting down"}),
        Moods(mail="451 not now"),
        Moods(mail="550 you are on our list"),
    ],
)
def test_what_is_about_us_or_the_relay_holds_the_role(moods: Moods) -> None:
    """Nothing is given up for it, and the word names the setting."""
    with relay(moods) as port, pytest.raises(Hold, match=r"relay: replies\.smtp: 127\.0\.0\.1") as caught:
        _send(Relay(f"smtp://127.0.0.1:{port}"), _letter())
    assert caught.value.part == "relay"


def test_a_relay_that_does_not_answer_holds_the_role() -> None:
    """R5."""
    with pytest.raises(Hold, match="refused"):
        _send(Relay(f"smtp://127.0.0.1:{free_port()}"), _letter())


def test_a_mail_that_is_larger_than_the_relay_takes_is_given_up() -> None:
    """It says so at MAIL already (RFC 1870), and the others go on."""
    moods = Moods()
    with relay(moods, data_size_limit=3000) as port:
        big, small = _send(Relay(f"smtp://127.0.0.1:{port}"), _letter(original=MAIL + b"x\n" * 5000), _letter())
    assert (big.status, small.status) == ("refused", "sent")
    assert big.why.startswith("552")


@pytest.mark.parametrize("moods", [Moods(hang_up={b"poison"}), Moods(hang_up_on={ANN}), Moods(rcpt={ANN: "421 4.7.1 too many today"})])
def test_a_relay_that_hangs_up_on_one_mail_or_address_three_times_is_not_away(moods: Moods) -> None:
    """Twice it may be the relay; then that letter waits, and those behind it go out."""
    with relay(moods) as port:
        there = Relay(f"smtp://127.0.0.1:{port}")
        poison, other = _letter(text="poison"), _letter("cid@example.org", MAIL + b"another\n")
        for _ in range(2):
            with pytest.raises(Hold):
                _send(there, poison, other)
        assert [verdict.status for verdict in _send(there, poison, other)] == ["later", "sent"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


def _server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # aiosmtpd does not see TLS that began before SMTP
@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_tls_is_checked_and_the_password_goes_over_it(certificate: Path, scheme: str) -> None:
    """Both ways in; a certificate that nobody vouches for holds the role, and so does a wrong password."""
    moods = Moods()
    options: dict[str, Any] = {"tls": _server_side(certificate), "implicit_tls": scheme == "smtps", "authenticator": knows("us", "p@ss")}
    trusting = ssl.create_default_context(cafile=str(certificate))
    with relay(moods, auth_required=True, auth_require_tls=scheme != "smtps", **options) as port:
        url = f"{scheme}://us:p%40ss@127.0.0.1:{port}"
        assert _send(Relay(url, tls=trusting), _letter())[0].status == "sent"
        with pytest.raises(Hold, match="certificate"):
            _send(Relay(url), _letter())
        with pytest.raises(Hold, match="535") as caught:
            _send(Relay(f"{scheme}://127.0.0.1:{port}", user="us", password="secret", tls=trusting), _letter())
    assert "secret" not in str(caught.value)


def test_starttls_is_not_done_without() -> None:
    """A relay that stops offering it gets nothing in the clear."""
    moods = Moods()
    with relay(moods) as port, pytest.raises(Hold, match="STARTTLS"):
        _send(Relay(f"smtp+starttls://127.0.0.1:{port}"), _letter())
    assert moods.taken == []


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://relay", "must be"),
        ("smtp://", "must be"),
        ("relay:25", "must be"),
        ("smtp://us:pw@relay.example.org", "clear"),
        ("", "must be"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_at_the_start(url: str, word: str) -> None:
    """Without the password."""
    with pytest.raises(ValueError, match=word) as caught:
        Relay(url)
    assert "replies.smtp" in str(caught.value)
    assert "pw" not in str(caught.value)
