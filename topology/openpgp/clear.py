"""The cleartext framework (RFC 9580 section 7): where a signed text stands between its lines, and what of it is signed.

The engines get the text that is cut out here, as a detached signature, so no second reader of the frame can see another text.
"""

import re
from io import BytesIO
from itertools import islice
from typing import NamedTuple

from topology.openpgp.armor import SIGNATURE_BEGIN, read_signature
from topology.openpgp.errors import DamagedError

BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"

# Only well-formed Hash lines may stand before the empty line: whatever else did would look signed to a reader (RFC 9580
# section 7, and CVE-2019-11841). Their values are ignored, as the signature itself names its hash.
_HASH_NAME = rb"(?:MD5|SHA1|RIPEMD160|SHA224|SHA256|SHA384|SHA512|SHA3-256|SHA3-512)"
_HASH_LINE = re.compile(rb"Hash:[ \t]*" + _HASH_NAME + rb"(?:[ \t]*,[ \t]*" + _HASH_NAME + rb")*[ \t\r]*")
_MAX_HASH_LINES = 16

_BLANKS = b" \t\r"


class ClearBlock(NamedTuple):
    """A clear-signed block in a text. start, end: the signed lines in the text, still dash-escaped and without the line end
    before the signature (RFC 9580 section 7.1: it belongs to the frame). packets: the dearmoured signatures."""

    start: int
    end: int
    packets: bytes


def begins(text: bytes) -> int:
    """The offset of the first line that begins a clear-signed block, or -1. Quoted ones ("> -----BEGIN …") are none."""
    at = text.find(BEGIN)
    while at >= 0:
        if (at == 0 or text[at - 1] == 0x0A) and not _rest_of_line(text, at + len(BEGIN)):
            return at
        at = text.find(BEGIN, at + 1)
    return -1


def read_block(text: bytes, at: int) -> ClearBlock:
    """The block whose BEGIN line stands at `at`. Raises DamagedError."""
    start = _skip_hash_lines(text, at)
    # The line end before the text is found again when there is no line of text at all.
    signature = text.find(b"\n" + SIGNATURE_BEGIN, start - 1)
    if signature < 0:
        raise DamagedError("the clear-signed text has no signature behind it")
    end = max(start, signature - (text[signature - 1 : signature] == b"\r"))
    frame = text.find(b"\n-----BEGIN PGP ", start - 1, end), text.find(b"\n-----END PGP ", start - 1, end)
    if max(frame) >= 0:
        raise DamagedError("a line of OpenPGP's frame stands within the signed text without its dash escape")
    return ClearBlock(start, end, read_signature(text, signature + 1))


def _rest_of_line(text: bytes, at: int) -> bytes:
    end = text.find(b"\n", at)
    return text[at : end if end >= 0 else len(text)].strip(_BLANKS)


def _skip_hash_lines(text: bytes, at: int) -> int:
    """The offset behind the empty line that ends the Hash lines."""
    for _ in range(_MAX_HASH_LINES):
        at = text.find(b"\n", at) + 1
        end = text.find(b"\n", at)
        if not at or end < 0:
            break
        line = text[at:end]
        if not line.strip(_BLANKS):
            return end + 1
        if not _HASH_LINE.fullmatch(line):
            raise DamagedError("before the empty line above the signed text stands something else than Hash, which nobody signed")
    raise DamagedError("the clear-signed text has no empty line above it")


def canonical(escaped: bytes, *, blanks: bool = False) -> bytes:
    """The signed form of a block's lines (RFC 9580 sections 7.1 and 7.2): dash escapes removed, line ends CRLF, and without the
    blanks at the ends of lines unless `blanks` keeps them. CRs before a line end go with it. Raises DamagedError for a CR within a
    line: one engine takes it for a line end and another does not.
    """
    text = escaped[2:] if escaped.startswith(b"- ") else escaped
    text = text.replace(b"\n- ", b"\n").replace(b"\r\n", b"\n")
    ends = (b"\r",) if blanks else (b" ", b"\t", b"\r")
    if text.endswith(ends) or any(end + b"\n" in text for end in ends):
        text = _without_ends(text, b"".join(ends))
    if b"\r" in text:
        raise DamagedError("a line of the signed text holds a bare carriage return")
    return text.replace(b"\n", b"\r\n")


def _without_ends(text: bytes, ends: bytes) -> bytes:
    """The lines (LF) without those bytes at their ends; a few at a time, as a text may be ten million empty lines."""
    result = bytearray()
    lines = iter(BytesIO(text))
    while some := [line.rstrip(ends + b"\n") for line in islice(lines, 65536)]:
        result += b"\n".join(some) + b"\n"
    return bytes(result) if text.endswith(b"\n") else bytes(result[:-1])
