"""What was signed, in the byte forms in which it may have been signed: mail is re-wrapped on its way, and signers differ.

No form changes what the signature is about. In clear-signed text, line ends and the blanks before them do not count (RFC 9580
section 7.2); in PGP/MIME only line ends do not, and whether the one before the boundary was signed (RFC 3156 section 5).
"""

import hashlib
from collections.abc import Iterator

from topology.openpgp import clear, mime, text
from topology.openpgp.armor import SIGNATURE_BEGIN, read_signature
from topology.openpgp.errors import DamagedError
from topology.openpgp.find import Place
from topology.openpgp.packets import HASHES, TEXT, SignaturePacket
from topology.openpgp.result import SignedRange


class SignedThing:
    """range: which bytes of the mail are signed. packets: the signature packets over them, dearmoured."""

    __slots__ = ("_hashed", "_made", "_source", "packets", "range")

    def __init__(self, signed: SignedRange, packets: bytes, source: Iterator[bytes]) -> None:
        """source: the byte forms, those as received first. They are made once, and hashed once for all signatures."""
        self.range = signed
        self.packets = packets
        self._source = source
        self._made: list[tuple[bytes, bool]] = []
        self._hashed: dict[tuple[int, int], hashlib._Hash] = {}

    def fitting(self, signature: SignaturePacket) -> Iterator[bytes]:
        """The byte forms that the signature can be over, as its hash prefix says. Raises DamagedError."""
        for number, (form, is_text) in enumerate(self._forms()):
            if (is_text or signature.kind != TEXT) and signature.fits(self._digest(number, form, signature)):
                yield form

    def _forms(self) -> Iterator[tuple[bytes, bool]]:
        """The forms, and whether each has only CRLF line ends, as a signature over text wants them: to Sequoia a CR alone is a line
        end too, and to a reader of lines it is none."""
        yield from self._made
        for form in self._source:
            self._made.append((form, form.count(b"\r\n") == form.count(b"\n") == form.count(b"\r")))
            yield self._made[-1]

    def _digest(self, number: int, form: bytes, signature: SignaturePacket) -> "hashlib._Hash":
        """The running hash of a form. It is kept where no salt stands before it: eight signatures over 10 MiB cost one hash each else."""
        new = HASHES[signature.hash]
        if signature.salt:
            return new(signature.salt + form, usedforsecurity=False)
        if (number, signature.hash) not in self._hashed:
            self._hashed[number, signature.hash] = new(form, usedforsecurity=False)
        return self._hashed[number, signature.hash].copy()


def read(raw: bytes, place: Place) -> SignedThing:
    """Cuts the signed thing out. Raises DamagedError when it or its signature block cannot be read."""
    if place.signature is None:
        block = clear.read_block(place.text, place.at)
        decoded = mime.is_encoded(place.part)
        offset = 0 if decoded else place.part.body
        charset = text.charset(place.part.type)
        signed = SignedRange("clear", place.part.path, decoded, offset + block.start, offset + block.end, charset)
        return SignedThing(signed, block.packets, _clear_forms(place.text[block.start : block.end]))
    armor = b"\n" + mime.decode(raw, place.signature)
    at = armor.find(b"\n" + SIGNATURE_BEGIN)
    if at < 0:
        raise DamagedError("the signature part holds no signature block")
    packets = read_signature(armor, at + 1)
    signed = SignedRange("mime", place.part.path, False, place.part.start, place.part.end)
    ending = raw[place.part.end : place.part.end + 2]
    ending = ending if ending == b"\r\n" else ending[:1]
    return SignedThing(signed, packets, _mime_forms(raw[place.part.start : place.part.end], ending))


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
