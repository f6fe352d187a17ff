"""Building mail on bytes: header fields and MIME entities that no input can break.

What comes out has CRLF line ends, lines of at most 998 octets (RFC 5321 section 4.5.3.1.6) and, but for what `attach` declares as
8bit, is ASCII. Everything is a function of its arguments, so what is built twice is equal.
"""

import re
from base64 import b64encode, encodebytes
from binascii import b2a_qp
from collections.abc import Sequence
from textwrap import wrap
from urllib.parse import quote

MAX_LINE = 998
"""Octets of a line without its CRLF (RFC 5322 section 2.1.1)."""

_WORD_OCTETS = 39
"""Octets in one encoded word: 52 in base64, 64 with its frame, so that a name of ten letters fits before it (RFC 2047 section 2: 76)."""
_FIELD_WIDTH = 76
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z")


def one_line(text: str, limit: int) -> str:
    """Text for a header field: what is not printable (line ends, controls, direction marks, surrogates) becomes a blank, runs of blanks
    one, and it is cut to `limit` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())[:limit].rstrip()


def field(name: str, value: str) -> bytes:
    """A header field, folded, with its CRLF. value: any text; RFC 2047 encoded words carry what is not ASCII, what could be taken
    for an encoded word, and words too long to fold."""
    value = one_line(value, 4000)
    if value.isascii() and "=?" not in value:
        line = f"{name}: {value}"
        if len(line) <= _FIELD_WIDTH:
            return line.encode("ascii") + b"\r\n"
        lines = wrap(line, _FIELD_WIDTH, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)
        if all(len(line) <= MAX_LINE for line in lines):
            return "\r\n".join(lines).encode("ascii") + b"\r\n"
    return name.encode("ascii") + b": " + b"\r\n ".join(_encoded_words(value)) + b"\r\n"


def _encoded_words(value: str) -> list[bytes]:
    words: list[bytes] = []
    piece = b""
    for char in value:
        octets = char.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD_OCTETS:  # a character is never split between two words (RFC 2047 section 5)
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return [b"=?utf-8?b?" + b64encode(word) + b"?=" for word in words]


def text(content: str, subtype: str = "plain") -> bytes:
    """A text entity (header, blank line, body): as it stands where it is plain ASCII in short lines, else quoted-printable, in which
    every word stays whole however long."""
    content = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", content)
    content = re.sub(r"[\x00-\x08\x0e-\x1f\x7f]", " ", content)
    data = (content if content.endswith("\n") else content + "\n").encode("utf-8", "replace")
    encoding = b"7bit"
    if not data.isascii() or max(map(len, data.split(b"\n"))) > MAX_LINE:
        encoding = b"quoted-printable"
        data = b2a_qp(data, istext=True)
    head = b"Content-Type: text/" + subtype.encode("ascii") + b"; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding
    return head + b"\r\n\r\n" + data.replace(b"\n", b"\r\n")


def binary(content: bytes, media_type: str, filename: str) -> bytes:
    """An attachment in base64. Raises ValueError for a media type that is none, or that may not travel in base64 (RFC 2045
    section 6.4 for multipart, RFC 2046 section 5.2.1 for message)."""
    if not _MEDIA_TYPE.match(media_type) or media_type.lower().startswith(("multipart/", "message/")):
        raise ValueError(f"attachment {filename!r}: cannot be sent as {media_type!r}; application/octet-stream always can")
    head = f"Content-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n{disposition(filename)}\r\n"
    return head.encode("ascii") + encodebytes(content).replace(b"\n", b"\r\n")


def disposition(filename: str) -> str:
    """A Content-Disposition field that names a file, with its CRLF; names beyond plain ASCII by RFC 2231."""
    name = one_line(filename, 100) or "attachment"
    if re.fullmatch(r"[A-Za-z0-9 ._()+-]+", name):
        return f'Content-Disposition: attachment; filename="{name}"\r\n'
    # In UTF-8 and percent signs a name of 100 characters takes at most 1,200 octets; the cut keeps the line below 998.
    return "Content-Disposition: attachment;\r\n filename*=utf-8''" + quote(name.encode("utf-8", "replace")[:240], safe="") + "\r\n"


def multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """A multipart entity. boundary: at most 70 characters, none of which needs a quoted string but `=`; it must not begin a line of
    a part, which holds for one made from an id that is a hash of what it encloses."""
    mark = boundary.encode("ascii")
    head = b"Content-Type: multipart/" + subtype.encode("ascii") + b'; boundary="' + mark + b'"\r\n\r\n'
    return head + b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + closing(boundary)


def closing(boundary: str) -> bytes:
    """The last line of a multipart entity; another part can be put in its place."""
    return b"--" + boundary.encode("ascii") + b"--\r\n"
