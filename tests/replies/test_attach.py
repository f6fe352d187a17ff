"""Attaching the original, whatever it is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.corpora import CorpusMail, corpus
from tests.replies.cases import MAIL, facts
from tests.replies.parse import first_text, last_part, must_be_valid
from topology.replies import compose
from topology.replies.attach import QUOTED, Original, attached, travelling

FAILED = facts()


def _mail(original: bytes | None, *, limit: int = QUOTED, size: int | None = None, eight_bit: bool = True) -> bytes:
    assert FAILED.outcome
    message = compose.finished(FAILED, "postroom@example.net", MAIL, compose.notice(FAILED, "Sorry.\n"))
    boundary = compose.boundary_of(compose.reply_id_of(FAILED, FAILED.outcome))
    found = None if original is None else Original(original, size or len(original))
    return attached(message, boundary, found, limit=limit, gone="It is gone.", eight_bit=eight_bit)


def _holds(original: bytes, limit: int, *, eight_bit: bool = True) -> None:
    """The mail is valid, and the original's beginning can be had back from its last part."""
    written = _mail(original, limit=limit, eight_bit=eight_bit)
    assert eight_bit or written.isascii()
    message = must_be_valid(written)
    assert written == _mail(original, limit=limit, eight_bit=eight_bit)
    assert first_text(message) == "Sorry.\n"
    part = last_part(message)
    beginning = original[:limit]
    if part.get_content_type() == "application/octet-stream":
        assert part.get_payload(decode=True) == beginning
    else:
        assert part.get_content_type() == "message/rfc822"
        assert part["Content-Transfer-Encoding"] in (None, "8bit")
        cut = len(beginning) < len(original)
        assert _between_boundaries(written).replace(b"\r\n", b"\n") == (beginning.removesuffix(b"\r") if cut else beginning).replace(
            b"\r\n", b"\n"
        )


def _between_boundaries(written: bytes) -> bytes:
    """The last part's body, cut out by hand: the parser would take it apart."""
    assert FAILED.outcome
    mark = b"\r\n--" + compose.boundary_of(compose.reply_id_of(FAILED, FAILED.outcome)).encode()
    return written.removesuffix(mark + b"--\r\n").rpartition(mark)[2].partition(b"\r\n\r\n")[2]


_LINES = st.lists(
    st.binary(max_size=30) | st.sampled_from([b"", b".", b"From x", b"--=_", b"Subject: x", b"\r", b"a: b\r", b"a" * 999]), max_size=12
)


@given(st.binary(max_size=300) | _LINES.map(b"\n".join) | _LINES.map(b"\r\n".join), st.integers(1, 400), st.booleans())
@example(b"a: b\r\n\r\nhello\r\n", 10, True)
@example(b"a: b\r\n\r\n\xff", 400, False)
def test_any_bytes_give_a_valid_mail_from_which_they_can_be_had_back(original: bytes, limit: int, eight_bit: bool) -> None:
    """R2, and A3's attachment."""
    for data in (original, b"Subject: x\n" + original):
        _holds(data, limit, eight_bit=eight_bit)


@pytest.mark.parametrize("mail", corpus("malformed"), ids=lambda mail: mail.file.stem)
def test_broken_mails_of_other_projects_travel(mail: CorpusMail) -> None:
    """As they are, and cut within."""
    for limit in (QUOTED, 512, 100):
        _holds(mail.raw, limit)
        _holds(mail.raw, limit, eight_bit=False)


@pytest.mark.parametrize(
    ("original", "media_type"),
    [
        (MAIL, "message/rfc822"),
        (MAIL.replace(b"\n", b"\r\n"), "message/rfc822"),
        (MAIL.replace(b"\n", b"\r\n", 3), "message/rfc822"),
        (MAIL + "gr\u00fc\u00dfe\n".encode("latin-1"), "message/rfc822"),
        (b"A: b\n\n" + b"x" * 998 + b"\n", "message/rfc822"),
        (b"A: b\n\n" + b"x" * 998 + b"\r\n", "message/rfc822"),
        (b"A: b\n", "message/rfc822"),
        (b"A: b\n\n" + b"x" * 999 + b"\n", "application/octet-stream"),
        (MAIL + b"\0", "application/octet-stream"),
        (MAIL + b"a\rb", "application/octet-stream"),
        (MAIL + b"end\r", "application/octet-stream"),
        (b"Subject: gr\xc3\xbc\xc3\x9fe\n\nx\n", "application/octet-stream"),
        (b"From ann Sun Mar  1 10:00:00 2026\nA: b\n\nx\n", "application/octet-stream"),
        (b"no header at all\n", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_what_cannot_travel_as_a_mail_goes_as_octets(original: bytes, media_type: str) -> None:
    """message/rfc822 may be neither quoted-printable nor base64 (RFC 2046 section 5.2.1)."""
    _holds(original, QUOTED)
    assert last_part(must_be_valid(_mail(original))).get_content_type() == media_type


def test_a_mail_is_attached_such_that_it_can_be_read() -> None:
    """The attached mail parses as a mail of its own."""
    inner = last_part(must_be_valid(_mail(MAIL))).get_content()
    assert inner["Subject"] == "a bug"
    assert inner.get_content() == "It is broken.\r\n"


def test_eight_bit_originals_are_declared_on_the_part_and_on_the_whole() -> None:
    """RFC 2045 section 6.4."""
    message = must_be_valid(_mail(MAIL + b"\xe4\n"))
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert last_part(message)["Content-Transfer-Encoding"] == "8bit"
    assert last_part(must_be_valid(_mail(MAIL + b"\xe4\n", eight_bit=False))).get_content_type() == "application/octet-stream"


def test_a_long_original_is_cut_and_the_part_says_so() -> None:
    """64 KiB; of a mail that was itself kept in part, the size as received counts."""
    long = MAIL + b"more\n" * 20_000
    part = last_part(must_be_valid(_mail(long)))
    assert part["Content-Description"] == f"The first 65536 of {len(long)} octets of your mail"
    part = last_part(must_be_valid(_mail(MAIL, size=99_999_999)))
    assert part["Content-Description"] == f"The first {len(MAIL)} of 99999999 octets of your mail"
    assert last_part(must_be_valid(_mail(MAIL)))["Content-Description"] == "Your mail"


def test_a_cut_between_cr_and_lf_makes_no_bare_cr() -> None:
    """The half line end is left out, so the rest can still travel as a mail."""
    assert travelling(b"A: b\r", cut=True) == b"A: b"
    assert travelling(b"A: b\r", cut=False) is None


def test_an_original_that_is_gone_is_said_to_be() -> None:
    """The mail still has its last part."""
    message = must_be_valid(_mail(None))
    assert last_part(message).get_content().rstrip() == "It is gone."


def test_a_mail_of_parts_within_parts_without_end_does_not_travel_as_a_mail() -> None:
    """Else whoever reads our mail must go down into all of them; the standard library's parser dies of it."""
    deep = b"From: a@x\n" + b"".join(b'Content-Type:\n multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(2000))
    _holds(deep, QUOTED)
    assert last_part(must_be_valid(_mail(deep))).get_content_type() == "application/octet-stream"
    assert travelling(b"From: a@x\n" + b"Content-Type: message/rfc822\n\n" * 20) is not None
