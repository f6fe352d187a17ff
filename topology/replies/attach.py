"""Attaching: the original goes behind our words as the last part, in a form that any relay can carry.

message/rfc822 may only be 7bit, 8bit or binary (RFC 2046 section 5.2.1), so a mail that these cannot carry safely goes as
application/octet-stream in base64, which gives the bytes back exactly.
"""

import re
from typing import NamedTuple

from topology import head
from topology.replies import mime

QUOTED = 64 * 1024
"""Octets of the original that an OOPS mail or a notice carries."""
QUOTED_TOO_LARGE = 8 * 1024
"""Octets where its size is the complaint."""

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_NESTING = re.compile(rb"^content-type[ \t]*:[ \t\n]*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_MOST_NESTING = 50
"""Parts within parts that an attached mail may seem to have; so many more that a reader who goes down into them dies of it is an attack."""
_LONG_LINE = re.compile(rb"[^\n]{%d}" % (mime.MAX_LINE + 1))


class Original(NamedTuple):
    """The mail that a message of ours is about. data: the bytes that are kept of it. size: octets as received."""

    data: bytes
    size: int


def attached(message: bytes, boundary: str, original: Original | None, *, limit: int, gone: str, eight_bit: bool = True) -> bytes:
    """`message`, a multipart/mixed that ends with its closing boundary, with one more part: the first `limit` octets of the original, or
    the text `gone` where there is none. eight_bit: whether the way there carries octets above 127 (RFC 6152); without, such an
    original goes in base64 like any other that message/rfc822 cannot carry. Line ends of message/rfc822 become CRLF."""
    if original is None:
        return _with_part(message, boundary, mime.text(gone))
    data = original.data[:limit]
    described = "Your mail" if len(data) == original.size else f"The first {len(data)} of {original.size} octets of your mail"
    as_mail = travelling(data, cut=len(data) < len(original.data))
    ascii_only = as_mail is not None and as_mail.isascii()
    description = b"Content-Description: " + described.encode("ascii") + b"\r\n"
    if as_mail is None or not (ascii_only or eight_bit):
        return _with_part(message, boundary, description + mime.binary(data, "application/octet-stream", "original.eml"))
    encoding = b"" if ascii_only else b"Content-Transfer-Encoding: 8bit\r\n"
    part = (
        b"Content-Type: message/rfc822\r\n" + encoding + mime.disposition("original.eml").encode("ascii") + description + b"\r\n" + as_mail
    )
    # A multipart is marked as what its parts need (RFC 2045 section 6.4).
    return _with_part(message, boundary, part, encoding)


def travelling(data: bytes, *, cut: bool = False) -> bytes | None:
    """The mail with CRLF line ends, as it can stand in a message/rfc822 part; or None where it cannot: no header field comes first, the
    header is not ASCII, it has a NUL, a bare CR or a line over 998 octets (RFC 5322 sections 2.1.1 and 2.3, RFC 2045 section 2.8), or parts
    within parts without end. cut: the data are the beginning of more, so half a line end at their end is no bare CR."""
    if cut:
        data = data.removesuffix(b"\r")
    lines = data.replace(b"\r\n", b"\n")
    if b"\r" in lines or b"\0" in lines or _LONG_LINE.search(lines) or not _FIELD.match(lines):
        return None
    if not head.split(lines)[0].isascii() or len(_NESTING.findall(lines)) > _MOST_NESTING:
        return None
    return lines.replace(b"\n", b"\r\n")


def _with_part(message: bytes, boundary: str, part: bytes, field: bytes = b"") -> bytes:
    last = mime.closing(boundary)
    header, separator, body = message.removesuffix(last).partition(b"\r\n\r\n")
    return b"".join((header, b"\r\n", field, separator[2:], body, b"--", boundary.encode("ascii"), b"\r\n", part, b"\r\n", last))
