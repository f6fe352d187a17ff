"""Composing messages of ours, read back with the standard library's parser."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.replies.cases import DECIDED, SENDER, facts
from tests.replies.parse import first_text, must_be_valid, ours
from topology.facts import rfc3339
from topology.replies import compose
from topology.replies.compose import Attachment, answer, decoded, finished, notice, thread_of

FROM = "postroom@example.net"
ANSWERED = facts("handled", None)


def _answered(entity: bytes, original: bytes = b"Subject: hi\n\n") -> bytes:
    return finished(ANSWERED, FROM, original, entity)


def test_an_answer_has_the_head_of_an_automatic_reply() -> None:
    """RFC 3834 section 3; the null envelope sender is the outbox's part."""
    message = must_be_valid(_answered(answer(ANSWERED, "Done.\n"), b"Message-ID: <1@x>\nReferences: <0@x>\nSubject: a bug\n\n"))
    outcome = ANSWERED.outcome
    assert outcome
    assert message["From"] == FROM
    assert message["To"] == SENDER
    assert message["Subject"] == "Re: a bug"
    assert message["Message-ID"] == f"<{outcome.reply_id}@example.net>"
    assert message["X-Postroom-Reply"] == outcome.reply_id
    assert message["In-Reply-To"] == "<1@x>"
    assert message["References"] == "<0@x> <1@x>"
    assert rfc3339(round(parsedate_to_datetime(message["Date"]).timestamp() * 1000)) == DECIDED[:19] + ".000Z"
    assert first_text(message) == "Done.\n"


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"", "none"),
        (b"Message-ID: <1@x>\nMessage-ID: <2@x>\n", "two fields"),
        (b"Message-ID: 1@x\n", "no brackets"),
        (b"Message-ID: <1@x> <2@x>\n", "two ids"),
        (b"Message-ID: <1 2@x>\n", "a blank"),
        (b"Message-ID: <\xc3\xa4@x>\n", "not ASCII"),
        (b"Message-ID: <" + b"a" * 300 + b"@x>\n", "too long to fold"),
        (b"Message-ID: <1@x>\rBcc: victim@example.com\n", "a second field behind a bare CR"),
    ],
)
def test_only_one_valid_message_id_is_answered(head: bytes, why: str) -> None:
    """R2: In-Reply-To and References only where the original has one valid Message-ID."""
    message = must_be_valid(_answered(answer(ANSWERED, "Done."), head + b"References: <0@x>\n\n"))
    if why.startswith("a second"):  # a bare CR ends a line, so the first field is as it should be, and nothing of the rest is used
        assert message["In-Reply-To"] == "<1@x>"
        assert message["Bcc"] is None
    else:
        assert message["In-Reply-To"] is None, why
        assert message["References"] is None, why


def test_a_message_id_with_a_comment_behind_it_is_answered() -> None:
    """RFC 5322 section 3.6.4 allows it, and servers that add an id for their users say so there."""
    assert thread_of(b"Message-ID: <1@x> (added by\n postmaster@x)\n\n").message_id == "<1@x>"


def test_a_long_thread_keeps_its_beginning_and_its_end() -> None:
    """References keep the first id and the last nine, then the mail's own."""
    ids = " ".join(f"<{n}@x>" for n in range(500))
    thread = thread_of(f"Message-ID: <m@x>\nReferences: {ids}\n\n".encode())
    assert thread.references == ("<0@x>", *(f"<{n}@x>" for n in range(491, 500)))


def test_without_references_the_one_id_of_in_reply_to_is_the_ancestor() -> None:
    """RFC 5322 section 3.6.4."""
    assert thread_of(b"Message-ID: <2@x>\nIn-Reply-To: <1@x>\n\n").references == ("<1@x>",)
    assert thread_of(b"Message-ID: <2@x>\nIn-Reply-To: <1@x> <0@x>\n\n").references == ()


@pytest.mark.parametrize(
    ("written", "answered"),
    [
        ("a bug", "Re: a bug"),
        ("RE: a bug", "RE: a bug"),
        ("=?utf-8?q?gr=C3=BC=C3=9Fe?= there", "Re: grüße there"),
        ("=?utf-8?b?w7w=?= =?iso-8859-1?q?=FC?=", "Re: üü"),
        ("=?utf-8?q?a=0D=0ABcc:_victim=40example.com?=", "Re: a Bcc: victim@example.com"),
        ("=?zlib?b?eJw=?=", None),
        ("=?utf-8?b?!?=", None),
        ("", "Re: your mail"),
        ("x" * 5000, "Re: " + "x" * 200),
    ],
)
def test_the_subject_answers_the_original_one_decoded_and_cut(written: str, answered: str | None) -> None:
    """Whatever stands in it, it stays one field; None: anything readable will do."""
    message = must_be_valid(_answered(answer(ANSWERED, "x"), f"Subject: {written}\n\n".encode()))
    assert message["Bcc"] is None
    if answered is not None:
        assert message["Subject"] == answered


@given(st.binary(max_size=400), st.text(max_size=300), st.text(max_size=300))
def test_any_original_head_and_any_words_give_a_valid_mail(head: bytes, subject: str, text: str) -> None:
    """Headers cannot be injected through the original, nor by a handler's words."""
    for original in (head, b"Subject: " + head, b"Message-ID: " + head, b"References: " + head + b"\nMessage-ID: <1@x>\n\n"):
        must_be_valid(_answered(answer(ANSWERED, text), original))
    message = must_be_valid(_answered(answer(ANSWERED, text, subject, headers={"X-Team": subject})))
    assert _answered(answer(ANSWERED, text, subject)) == _answered(answer(ANSWERED, text, subject))
    assert set(message.keys()) <= {*_FIELDS, "Content-Transfer-Encoding", "X-Team"}


_FIELDS = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "Precedence"]
_FIELDS += ["X-Auto-Response-Suppress", "X-Postroom-Reply", "MIME-Version", "Content-Type"]


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=3000))
def test_a_text_arrives_as_it_was_said(line: str) -> None:
    """Words stay whole and characters what they are, however long the line."""
    message = must_be_valid(_answered(answer(ANSWERED, line)))
    assert first_text(message) == line + "\n"


def test_an_answer_can_carry_html_and_files() -> None:
    """multipart/mixed of multipart/alternative and base64 parts."""
    entity = answer(
        ANSWERED,
        "plain",
        "Your report",
        html="<p>gr\u00fcn</p>",
        headers={"Reply-To": "bug+12@bugs.example.net"},
        attachments=[Attachment("bericht \u00e4.pdf", b"%PDF\0\r\n" * 100, "application/pdf")],
    )
    message = must_be_valid(_answered(entity))
    assert message["Subject"] == "Your report"
    assert message["Reply-To"] == "bug+12@bugs.example.net"
    assert [part.get_content_type() for part in ours(message)] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    attachment = ours(message)[-1]
    assert attachment.get_filename() == "bericht \u00e4.pdf"
    assert attachment.get_content() == b"%PDF\0\r\n" * 100


@pytest.mark.parametrize("name", ["Bcc", "to", "Auto-Submitted", "Content-Type", "X-Postroom-Reply", "a b", "", "X:Y", "X\r\nBcc"])
def test_an_answer_cannot_set_what_decides_over_the_mail(name: str) -> None:
    """The error names the header."""
    with pytest.raises(ValueError, match="header"):
        answer(ANSWERED, "x", headers={name: "victim@example.com"})


@pytest.mark.parametrize("media_type", ["message/rfc822", "multipart/mixed", "text", "text/plain\r\nBcc: x", ""])
def test_an_attachment_has_a_media_type_that_base64_can_carry(media_type: str) -> None:
    """RFC 2046 section 5.2.1."""
    with pytest.raises(ValueError, match="attachment 'a'"):
        answer(ANSWERED, "x", attachments=[Attachment("a", b"", media_type)])


def test_a_notice_is_a_multipart_with_one_part() -> None:
    """The boundary comes from the reply's id."""
    failed = facts()
    outcome = failed.outcome
    assert outcome
    assert outcome.reply_id
    message = must_be_valid(finished(failed, FROM, b"", notice(failed, "Sorry.\n")))
    assert message.get_content_type() == "multipart/mixed"
    assert message.get_boundary() == compose.boundary_of(outcome.reply_id)
    assert first_text(message) == "Sorry.\n"


def test_an_address_beyond_ascii_stands_in_utf8() -> None:
    """RFC 6532 section 3.2; the domain is in A-labels, as addresses are compared."""
    unicode = facts("handled", None, sender="j\u00f6rg@xn--bcher-kva.example")
    message = finished(unicode, FROM, b"", answer(unicode, "x"))
    assert "To: j\u00f6rg@xn--bcher-kva.example\r\n".encode() in message


@given(st.text(max_size=200))
def test_decoding_a_header_never_raises(value: str) -> None:
    """Whatever claims to be an encoded word."""
    for written in (value, f"=?{value}?=", f"=?utf-8?q?{value}?=", f"=?{value}?b?AAAA?="):
        assert isinstance(decoded(written), str)
