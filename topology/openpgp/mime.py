"""The few things of MIME that finding a signature needs (RFC 2045, 2046), on bytes and in bounded time.

Strict where programs differ: a header that two of them could read in two ways raises AmbiguousError, because then nobody can say what
the reader of a signed mail was shown.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from topology.openpgp.errors import AmbiguousError, DamagedError

MAX_DEPTH = 16
MAX_PARTS = 200
"""Levels of nesting and parts of one multipart beyond which a mail counts as ambiguous. Honest mail has 5 levels at most."""

_MAX_LOOKALIKES = 100
"""Lines that begin as a boundary and go on: each costs a look, and one is enough to make a signed part ambiguous."""

_MAX_VALUE = 4096
"""Bytes of a Content-Type. RFC 5322 knows no limit, programs have one, and honest ones stay below 500."""

# Fields with their continuations, as every program reads them. A name with a blank in it or behind it is a field to some and the
# header's end to others, and so is a line of blanks. In the mail itself a mailbox's "From " line may come first.
_HEADER_TEXT = rb"(?:[!-9;-~]++:[^\n]*+(?:\n[ \t]++\S[^\n]*+)*+(?:\n|\Z))*+"
_HEADER = re.compile(_HEADER_TEXT)
_TOP_HEADER = re.compile(rb"(?:>?From [^\n]*+\n)?+" + _HEADER_TEXT)
_WANTED = re.compile(rb"\n(content-type|content-transfer-encoding|content-disposition):([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.IGNORECASE)

_EMPTY_LINE = re.compile(rb"\n\r?\n")

_TOKEN = rb"[!#-'*+\-.0-9A-Z^-z{|}~]+"
_MEDIA_TYPE = re.compile(rb"[ \t]*(" + _TOKEN + rb")/(" + _TOKEN + rb")[ \t]*(?=;|$)")
_PARAMETER = re.compile(rb";[ \t]*(?:(" + _TOKEN + rb")[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"()]+))[ \t]*)?(?=;|$)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


class ContentType(NamedTuple):
    """A Content-Type field. name: "type/subtype" in lower case. parameters: by name in lower case; the first of each name.
    sound: nothing in it that another program could read differently."""

    name: bytes
    parameters: Mapping[bytes, bytes]
    sound: bool


_DEFAULT = ContentType(b"text/plain", {}, True)


class Part(NamedTuple):
    """A part of a mail, or the mail itself (path ""). start: of its header. body: of its body. end: of both, without the line
    end that belongs to the boundary behind it. All are offsets in the mail. attached: it is shown as a file, not as text (RFC 2183)."""

    path: str
    type: ContentType
    encoding: bytes
    start: int
    body: int
    end: int
    attached: bool = False

    def child(self, number: int) -> str:
        """The path of the part's child, counted from 1."""
        return f"{self.path}.{number}" if self.path else str(number)


def read_part(raw: bytes, path: str, start: int, end: int) -> Part:
    """The part whose header begins at `start`. Raises AmbiguousError."""
    header_end, body = _header_end(raw, start, end)
    types: list[bytes] = []
    encodings: list[bytes] = []
    attached = too_long = False
    for name, value in _fields(raw[start:header_end], top=not path):
        if name == b"content-disposition":
            attached = attached or (bool(path) and value.strip(b" \t").lower().startswith(b"attachment"))
            continue
        too_long = too_long or len(value) > _MAX_VALUE
        (types if name == b"content-type" else encodings).append(value)
    if too_long:
        raise AmbiguousError(f"{_place(path)} has a Content-Type or Content-Transfer-Encoding of more than {_MAX_VALUE} bytes")
    if len(types) > 1 or len(encodings) > 1:
        raise AmbiguousError(f"{_place(path)} has {'Content-Type' if len(types) > 1 else 'Content-Transfer-Encoding'} more than once")
    encoding = encodings[0].strip(b" \t").lower() if encodings else b""
    return Part(path, content_type(types[0]) if types else _DEFAULT, encoding, start, body, end, attached)


def walk(raw: bytes, start: int, end: int) -> Iterator[tuple[Part, list[tuple[int, int]] | None]]:
    """The part between two offsets and all parts within it, in the order in which they stand, each multipart before its children.

    Beside each multipart stand the spans of its children, and None beside any other. A mail attached to a mail and the parts of a
    digest are not entered. Raises AmbiguousError, also for what is nested deeper than MAX_DEPTH or has more than MAX_PARTS parts.
    """
    waiting = [("", start, end, 0)]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        path, start, end, depth = waiting.pop()
        part = read_part(raw, path, start, end)
        if not part.type.name:
            raise AmbiguousError(f"the Content-Type of {_place(path)} cannot be read")
        if not part.type.name.startswith(b"multipart/") or part.type.name == b"multipart/digest":
            yield part, None
            continue
        if depth == MAX_DEPTH:
            raise AmbiguousError(f"the mail is nested more than {MAX_DEPTH} deep")
        spans = children(raw, part)
        yield part, spans
        waiting += [(part.child(number), *span, depth + 1) for number, span in reversed([*enumerate(spans, 1)])]
    if waiting:
        raise AmbiguousError(f"the mail has more than {MAX_PARTS} parts")


def part_at(raw: bytes, path: str) -> Part:
    """The part of that path. Raises AmbiguousError, and IndexError where there is none."""
    part = read_part(raw, "", 0, len(raw))
    for number in path.split(".") if path else ():
        part = read_part(raw, part.child(int(number)), *children(raw, part)[int(number) - 1])
    return part


def _place(path: str) -> str:
    return f"part {path}" if path else "the mail"


def _header_end(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the header ends, its last line end included, and where the body begins."""
    for empty in (b"\n", b"\r\n"):
        if raw.startswith(empty, start, end):
            return start, start + len(empty)
    match = _EMPTY_LINE.search(raw, start, end)
    return (match.start() + 1, match.end()) if match else (end, end)


def _fields(header: bytes, *, top: bool) -> list[tuple[bytes, bytes]]:
    """Name (lower case) and unfolded value of the fields that matter here. Raises AmbiguousError where a program could see others."""
    if not (_TOP_HEADER if top else _HEADER).fullmatch(header) or header.count(b"\r") != header.count(b"\r\n"):
        raise AmbiguousError("a header holds a line that is no field, a line of blanks, or a bare carriage return")
    return [(name.lower(), value.replace(b"\r", b"").replace(b"\n", b"")) for name, value in _WANTED.findall(b"\n" + header)]


@lru_cache(maxsize=256)
def content_type(value: bytes) -> ContentType:
    """Reads a Content-Type value (unfolded). What breaks the grammar is not `sound`; without a media type its name is empty."""
    value = value.strip(b" \t")
    match = _MEDIA_TYPE.match(value)
    if not match:
        return ContentType(b"", {}, False)
    name = (match[1] + b"/" + match[2]).lower()
    parameters: dict[bytes, bytes] = {}
    sound = True
    at = match.end()
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if not match:
            return ContentType(name, parameters, False)
        at = match.end()
        key, quoted, token = match.groups()
        if key is None:
            continue
        # Two of a name, and RFC 2231's continuations ("boundary*0"), are read in different ways by different programs.
        sound = sound and key.lower() not in parameters and not key.lower().startswith((b"boundary*", b"protocol*"))
        parameters.setdefault(key.lower(), token if quoted is None else _ESCAPE.sub(rb"\1", quoted))
    return ContentType(name, parameters, sound)


def children(raw: bytes, part: Part) -> list[tuple[int, int]]:
    """Start and end of a multipart's parts (RFC 2046 section 5.1.1). A missing close delimiter is the part's end.

    Raises AmbiguousError where its boundary, or lines that look like it, could be read in more than one way.
    """
    boundary = part.type.parameters.get(b"boundary", b"")
    if not part.type.sound or not boundary or boundary != boundary.strip() or part.encoding not in _IDENTITY:
        raise AmbiguousError(f"{_place(part.path)} is a multipart whose Content-Type or encoding can be read in more than one way")
    delimiter = b"--" + boundary
    if raw.find(b"\r" + delimiter, part.body, part.end) >= 0:
        raise AmbiguousError("a boundary stands behind a bare carriage return")
    spans: list[tuple[int, int]] = []
    begun = -1
    for at, rest, behind in _delimiters(raw, part, delimiter):
        if begun >= 0:
            spans.append((begun, max(begun, at - (raw[at - 1 : at] == b"\r"))))
        begun = behind
        if rest == b"--":
            return spans
        if len(spans) > MAX_PARTS:
            raise AmbiguousError(f"{_place(part.path)} has more than {MAX_PARTS} parts")
    if begun >= 0:
        spans.append((begun, part.end))
    return spans


def _delimiters(raw: bytes, part: Part, delimiter: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The delimiter lines: the offset of the line end before each, what stands behind the boundary ("" or "--"), and the offset of
    the next line. A multipart's body always has a line end before it: the empty line behind its header."""
    lookalikes = 0
    at = raw.find(b"\n" + delimiter, part.body - 1, part.end)
    while at >= 0:
        line_end = raw.find(b"\n", at + 1, part.end)
        behind = line_end + 1 if line_end >= 0 else part.end
        rest = raw[at + 1 + len(delimiter) : behind].removesuffix(b"\n").removesuffix(b"\r").rstrip(b" \t")
        if rest in (b"", b"--"):
            yield at, rest, behind
        else:
            lookalikes += 1
            if lookalikes > _MAX_LOOKALIKES or part.type.name == b"multipart/signed" or b"\r" in rest:
                raise AmbiguousError(f"{_place(part.path)} has lines that begin as its boundary and go on")
        at = raw.find(b"\n" + delimiter, behind - 1, part.end)


_IDENTITY = (b"", b"7bit", b"8bit", b"binary")


def is_encoded(part: Part) -> bool:
    """Whether the part's body must be decoded before it is text."""
    return part.encoding not in _IDENTITY


def decode(raw: bytes, part: Part) -> bytes:
    """The part's decoded body. Raises DamagedError where its encoding is unknown or broken."""
    body = raw[part.body : part.end]
    if part.encoding in _IDENTITY:
        return body
    if part.encoding == b"quoted-printable":
        return binascii.a2b_qp(body)
    if part.encoding == b"base64":
        try:
            # The padding makes up for one that was cut off; too much of it is ignored.
            return binascii.a2b_base64(body + b"==")
        except binascii.Error:
            raise DamagedError("the part is not sound base64") from None
    raise DamagedError("the part's Content-Transfer-Encoding is unknown")
