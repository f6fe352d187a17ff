"""What was signed, in the byte forms in which it may have been signed: mail is re-wrapped on its way, and signers differ.

No form changes what the signature is about. In clear-signed text, line ends and the blanks before them do not count (RFC 9580
section 7.2); in PGP/MIME only line ends do not, and whether the one before the boundary was signed (RFC 3156 section 5).
"""

from collections.abc import Iterator
from typing import NamedTuple

from topology.openpgp import clear, mime, text
from topology.openpgp.armor import SIGNATURE_BEGIN, read_signature
from topology.openpgp.errors import DamagedError
from topology.openpgp.find import Place
from topology.openpgp.packets import TEXT
from topology.openpgp.result import SignedRange


class SignedThing(NamedTuple):
    """range: which bytes of the mail. content: those bytes as received (clear: dash-escaped lines). ending: the line end behind
    a PGP/MIME part. packets: the signature packets over it, dearmoured."""

    range: SignedRange
    content: bytes
    ending: bytes
    packets: bytes

    def forms(self, kind: int) -> Iterator[bytes]:
        """The byte forms to try for a signature of that type, as received first. Raises DamagedError."""
        forms = _clear_forms(self.content) if self.range.form == "clear" else _mime_forms(self.content, self.ending)
        if kind == TEXT:
            return (form for form in forms if form.count(b"\r\n") == form.count(b"\n") == form.count(b"\r"))
        return forms


def read(raw: bytes, place: Place) -> SignedThing:
    """Cuts the signed thing out. Raises DamagedError when it or its signature block cannot be read."""
    if place.signature is None:
        block = clear.read_block(place.text, place.at)
        decoded = mime.is_encoded(place.part)
        offset = 0 if decoded else place.part.body
        charset = text.charset(place.part.type)
        signed = SignedRange("clear", place.part.path, decoded, offset + block.start, offset + block.end, charset)
        return SignedThing(signed, place.text[block.start : block.end], b"", block.packets)
    armor = b"\n" + mime.decode(raw, place.signature)
    at = armor.find(b"\n" + SIGNATURE_BEGIN)
    if at < 0:
        raise DamagedError("the signature part holds no signature block")
    packets = read_signature(armor, at + 1)
    signed = SignedRange("mime", place.part.path, False, place.part.start, place.part.end)
    ending = raw[place.part.end : place.part.end + 2]
    ending = ending if ending == b"\r\n" else ending[:1]
    return SignedThing(signed, raw[place.part.start : place.part.end], ending, packets)


def _clear_forms(escaped: bytes) -> Iterator[bytes]:
    """CRLF as the RFC asks, first with the blanks that are there; LF for the signer who took the text for binary."""
    exact = clear.canonical(escaped, blanks=True)
    yield exact
    trimmed = clear.canonical(escaped)
    if trimmed != exact:
        yield trimmed
    yield exact.replace(b"\r\n", b"\n")
    yield trimmed.replace(b"\r\n", b"\n")


def _mime_forms(exact: bytes, ending: bytes) -> Iterator[bytes]:
    yield exact
    yield exact + ending
    lf = exact.replace(b"\r\n", b"\n")
    crlf = lf.replace(b"\n", b"\r\n")
    for form, line_end in ((crlf, b"\r\n"), (lf, b"\n")):
        if form != exact:
            yield form
        if form != exact or line_end != ending:
            yield form + line_end
