"""Where in a mail something OpenPGP-signed stands. It counts only where it is the first thing that a reader is shown.

Parts are walked in the order in which they stand; a mail attached to a mail is somebody else's and is not entered. Signed messages
("-----BEGIN PGP MESSAGE-----", often compressed) are out of scope: nothing here is ever decompressed.
"""

from typing import NamedTuple

from topology.openpgp import clear, mime
from topology.openpgp.errors import AmbiguousError, DamagedError
from topology.openpgp.result import Form

_PGP_SIGNATURE = b"application/pgp-signature"

# What "-----BEGIN PGP SIGN…" looks like in base64 at each of the three alignments, without the characters that depend on the
# bytes round it.
_IN_BASE64 = (b"LS0tLS1CRUdJTiBQR1AgU0lHT", b"tLS0tLUJFR0lOIFBHUCBTSUdO", b"0tLS0tQkVHSU4gUEdQIFNJR0")

_BASE64_REACH = 16 * 1024
"""Bytes behind the first mention of base64 in which an encoded signature must begin: a text of 12 KB may stand before it."""


class Place(NamedTuple):
    """Where the signed thing stands. first: nothing that a reader sees stands before it.

    form clear: `part` is the text part, `text` its decoded body and `at` the offset of the BEGIN line in it.
    form mime: `part` is the signed part, `signature` the signature part, and `micalg` what the multipart says of the hash, or "".
    """

    form: Form
    part: mime.Part
    first: bool
    text: bytes = b""
    at: int = 0
    signature: mime.Part | None = None
    micalg: bytes = b""


def may_be_signed(content_type: bytes | None, raw: bytes, encoding: bytes | None = None) -> bool:
    """Whether the mail can hold an OpenPGP signature that counts. True means that `verify` has to look; False is sure, but for a
    base64 text in which more than 12 KB stand before the signed block.

    content_type, encoding: the values of the mail's Content-Type and Content-Transfer-Encoding fields, as far as the caller has
    them, or None. raw: the mail. About one microsecond for 4 KB with both fields, and five for a multipart; linear.
    """
    if raw.rfind(b"BEGIN PGP SIGN") >= 0:  # from behind, Python skips what cannot match: less than half the time of `in`
        return True
    if content_type is None:
        if b"pgp-signature" in raw:
            return True
    else:
        kind = content_type.strip().lower()
        if b"pgp-signature" in kind:
            return True
        if encoding is not None and not kind.startswith(b"multipart/") and encoding.strip().lower() != b"base64":
            return False
    at = raw.find(b"ase64")
    if at < 0:
        at = raw.find(b"BASE64")
    # The first part that is encoded may be a clear-signed text, and the last one a signature part.
    return at >= 0 and (_encoded_signature(raw, at) or _encoded_signature(raw, raw.rfind(b"ase64")))


def _encoded_signature(raw: bytes, at: int) -> bool:
    joined = raw[at : at + _BASE64_REACH].replace(b"\r", b"").replace(b"\n", b"")
    return any(mark in joined for mark in _IN_BASE64)


def find(raw: bytes) -> Place | None:
    """The first signed thing of the mail, or None. Raises AmbiguousError. Looks at each byte at most once a level of nesting."""
    first = True
    for part, spans in mime.walk(raw, 0, len(raw)):
        # What is attached as a file is not what the mail says, though it may be its first part; nor is what stands in it.
        first = first and not part.attached
        if spans is not None:
            if part.type.name == b"multipart/signed" and (place := _signed(raw, part, spans, first=first)):
                return place
            # Without parts, some programs show the text that stands there.
            first = first and bool(spans)
            continue
        text = _text(raw, part)
        at = clear.begins(text)
        if at >= 0:
            return Place("clear", part, first, text, at)
        first = first and part.type.name == b"text/plain" and not text.strip()
    return None


def _text(raw: bytes, part: mime.Part) -> bytes:
    """The decoded text of a text/plain part, and nothing of any other."""
    if part.type.name != b"text/plain":
        return b""
    try:
        return mime.decode(raw, part)
    except DamagedError:
        return b"?"  # not empty: a reader may be shown something


def _signed(raw: bytes, part: mime.Part, spans: list[tuple[int, int]], *, first: bool) -> Place | None:
    """The place in a multipart/signed (RFC 1847 section 2.1, RFC 3156 section 5), or None when it is of another kind (S/MIME)."""
    if not spans:
        return None
    parts = [mime.read_part(raw, part.child(number), *span) for number, span in enumerate(spans[:2], 1)]
    declared = part.type.parameters.get(b"protocol", b"").lower() == _PGP_SIGNATURE
    found = len(parts) == 2 and parts[1].type.name == _PGP_SIGNATURE
    if not declared and not found:
        return None
    if not declared or not found or len(spans) != 2:
        raise AmbiguousError("a multipart/signed is not as RFC 3156 has it: its protocol, a signed part, one signature part of that type")
    return Place("mime", parts[0], first, signature=parts[1], micalg=part.type.parameters.get(b"micalg", b"").lower())
