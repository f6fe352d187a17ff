"""Composing: a message of ours on bytes, from facts, the original's head and words.

A handler's answer is an entity first (`answer`, in mail.answers), which has its content and no address; `finished` puts the head on
that every mail of ours has (RFC 3834 section 3). What is the same in goes out the same, byte for byte: times, ids and boundaries
come from the facts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import format_datetime
from typing import Literal, NamedTuple

from topology import ids
from topology.ending import sender_of
from topology.facts import Facts, Outcome, Status
from topology.head import Head, HeadReader
from topology.marks import REPLY_MARK
from topology.replies import mime

Kind = Literal["oops", "notice", "answer"]
_KINDS: dict[Status, Kind] = {"failed": "oops", "returned": "notice", "handled": "answer"}

_SUBJECT = 200
"""Characters of a subject that we write."""
_ANCESTORS = 10
"""References that we carry on: the first, which began the thread, and the latest."""
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,200}@[!-;=?A-~]{1,200}>")
"""What we repeat of other people's ids: the dot-atom form of RFC 5322 section 3.6.4 and what is close to it; short enough to fold."""
_WRITTEN_ID = re.compile(rf"({_MESSAGE_ID.pattern})(?:\s*\([^()]*\))*")
"""An id as it may stand in its field: behind it servers note in a comment that they added it."""
_RESERVED = re.compile(
    r"(?i)from|sender|to|cc|bcc|subject|date|message-id|in-reply-to|references|return-path|received|auto-submitted|precedence|mime-version"
    r"|x-auto-response-suppress|x-postroom-.*|content-.*|resent-.*|dkim-signature|arc-.*|authentication-results"
)
_FIELD_NAME = re.compile(r"[!-9;-~]{1,70}")
_READER = HeadReader()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that an answer carries. media_type: anything but multipart/* and message/*, which may not travel in base64."""

    filename: str
    content: bytes
    media_type: str = "application/octet-stream"


class Thread(NamedTuple):
    """What a reply takes from the mail that it answers: its subject, decoded; its Message-ID where it has exactly one that is valid,
    with brackets; and the ids of its ancestors, oldest first."""

    subject: str = ""
    message_id: str | None = None
    references: tuple[str, ...] = ()


def kind_of(outcome: Outcome) -> Kind:
    """What sort of mail an outcome asks for. Raises KeyError for one that asks for none."""
    return _KINDS[outcome.status]


def reply_id_of(facts: Facts, outcome: Outcome) -> str:
    """The id of the mail that an outcome asks for."""
    return outcome.reply_id or ids.reply_id(outcome.delivery_id, facts.generation, kind_of(outcome))


def boundary_of(reply_id: str) -> str:
    """The outermost boundary of a reply. The id is a hash that the mail's own bytes went into, so the mail cannot contain it; `=_`
    stands in no quoted-printable or base64 line (RFC 2045 section 6.7)."""
    return f"=_{reply_id}"


def answer(
    facts: Facts,
    text: str,
    subject: str | None = None,
    *,
    html: str | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[Attachment] = (),
) -> bytes:
    """The entity of a handler's answer, for the value of mail.answers. facts: of a routed delivery. subject: None for "Re:" and the
    original's. headers: further fields (Reply-To, X-…), never one that decides who gets the mail or how robots take it; line ends and
    controls in subject and headers become blanks. Raises ValueError naming the header or attachment at fault."""
    assert facts.route
    mark = boundary_of(ids.reply_id(facts.route.delivery_id, facts.generation, "answer"))
    body = mime.text(text)
    if html is not None:
        body = mime.multipart("alternative", f"{mark}.a", [body, mime.text(html, "html")])
    if attachments:
        body = mime.multipart("mixed", mark, [body, *(mime.binary(a.content, a.media_type, a.filename) for a in attachments)])
    fields = [] if subject is None else [mime.field("Subject", mime.one_line(subject, _SUBJECT))]
    for name, value in (headers or {}).items():
        if not _FIELD_NAME.fullmatch(name) or _RESERVED.fullmatch(name):
            raise ValueError(f"an answer cannot set the header {name!r}: leave it out of `headers`")
        fields.append(mime.field(name, value))
    return b"".join(fields) + body


def notice(facts: Facts, text: str) -> bytes:
    """The entity of an OOPS mail or a notice: the text as the only part of a multipart/mixed, behind which `attach` puts the original."""
    assert facts.outcome
    return mime.multipart("mixed", boundary_of(reply_id_of(facts, facts.outcome)), [mime.text(text)])


def finished(facts: Facts, sender: str, original: bytes | None, entity: bytes) -> bytes:
    """The message without the original: `entity` with the head of a mail of ours. sender: the address that we write from, ASCII.
    original: the mail that is answered, or None when it is gone."""
    outcome, to = facts.outcome, sender_of(facts)
    assert outcome
    assert to
    thread = thread_of(original or b"")
    reply_id = reply_id_of(facts, outcome)
    lines = [
        b"From: " + sender.encode("ascii") + b"\r\n",
        # An address outside ASCII stands in UTF-8, as its mail needs SMTPUTF8 all the same (RFC 6532 section 3.2).
        b"To: " + to.encode() + b"\r\n",
        b"" if entity[:8].lower() == b"subject:" else mime.field("Subject", _answering(thread.subject)),
        b"Date: " + format_datetime(datetime.fromisoformat(outcome.decided_at)).encode("ascii") + b"\r\n",
        b"Message-ID: <" + reply_id.encode("ascii") + b"@" + sender.rpartition("@")[2].encode("ascii") + b">\r\n",
        *_threading(thread),
        b"Auto-Submitted: auto-replied\r\nPrecedence: bulk\r\nX-Auto-Response-Suppress: All\r\n",
        mime.field(REPLY_MARK, reply_id),
        b"MIME-Version: 1.0\r\n",
        entity,
    ]
    return b"".join(lines)


def thread_of(original: bytes) -> Thread:
    """What a reply takes from these bytes; never raises."""
    head = _READER.read(original)
    written = head.all("message-id")
    valid = len(written) == 1 and _WRITTEN_ID.fullmatch(written[0].strip())
    return Thread(decoded(head.first("subject") or ""), valid[1] if valid else None, _ancestors(head) if valid else ())


def _ancestors(head: Head) -> tuple[str, ...]:
    """The parent's References, else its In-Reply-To where that has exactly one id (RFC 5322 section 3.6.4)."""
    found = _MESSAGE_ID.findall((head.first("references") or "")[-16384:])
    if not found:
        found = _MESSAGE_ID.findall((head.first("in-reply-to") or "")[:16384])
        found = found if len(found) == 1 else []
    found = list(dict.fromkeys(found))
    return tuple(found if len(found) <= _ANCESTORS else [found[0], *found[1 - _ANCESTORS :]])


def _threading(thread: Thread) -> list[bytes]:
    if thread.message_id is None:
        return []
    chain = [*(id_ for id_ in thread.references if id_ != thread.message_id), thread.message_id]
    return [f"In-Reply-To: {thread.message_id}\r\nReferences: ".encode("ascii"), "\r\n ".join(chain).encode("ascii"), b"\r\n"]


def _answering(subject: str) -> str:
    subject = mime.one_line(subject, _SUBJECT)
    return subject if subject[:3].lower() == "re:" else f"Re: {subject or 'your mail'}"


def decoded(value: str) -> str:
    """A header field's text with its RFC 2047 words decoded, as far as they can be; never raises. Only the first 2,000 characters
    are looked at."""
    value = value[:2000]
    if not value.isascii():
        value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if "=?" not in value:
        return value
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        return value
    return "".join(piece if isinstance(piece, str) else _text_of(piece, charset) for piece, charset in pieces)


def _text_of(piece: bytes, charset: str | None) -> str:
    try:
        # Without a charset it is what stood between encoded words, which `decode_header` gives in this form.
        return piece.decode(charset or "raw-unicode-escape", "replace")
    except (LookupError, UnicodeError, ValueError):  # no such charset, or a codec that is none of text
        return piece.decode("utf-8", "replace")
