"""A mail as DKIM sees it: header fields in order, and the body, on CRLF line ends (RFC 6376 5.3)."""

from __future__ import annotations

import re
from hashlib import sha256

from topology.dkim import canon

_HEADER_END = re.compile(rb"\n\r?\n")
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_NAME = re.compile(rb"([!-9;-~]+)([ \t]*):")


def header_end(raw: bytes) -> int:
    """Where the header block ends, its last line end included; the empty line follows, or nothing does."""
    if raw.startswith((b"\n", b"\r\n")):
        return 0
    end = _HEADER_END.search(raw)
    return end.start() + 1 if end else len(raw)


class Mail:
    """The parts of one mail, which its signatures share.

    fields: each header field, whole but for its last CRLF, from top to bottom. places: by name in lower case, where in `fields`
    those of that name stand, likewise. flaw: why the header cannot be relied on, or "": a reader that ends a line at a bare CR
    would see another author than the one whose field was signed, and one to whom the header ends at a line that is no field (to the
    standard library that is one with a blank before its colon) takes what follows for the text, where anybody may have put it. So no
    signature passes then (RFC 6376 3.8 and 8.15: only a well-formed message can be signed; a blank is well-formed by RFC 5322 4.5 alone).
    """

    def __init__(self, raw: bytes, end: int) -> None:
        self._raw = raw
        self._end = end
        self._body_hashes: dict[bool, bytes] = {}
        self.flaw = ""
        self.fields: list[bytes] = []
        self.places: dict[bytes, list[int]] = {}
        head = canon.crlf(raw[:end]).removesuffix(b"\r\n")
        if head.count(b"\r") != head.count(b"\n"):
            self.flaw = "the header holds a bare CR, at which readers differ on where a field ends"
        for number, field in enumerate(_FIELD_END.split(head)):
            name = _FIELD_NAME.match(field)
            if name:
                self.places.setdefault(name[1].lower(), []).append(len(self.fields))
                self.fields.append(field)
                if name[2]:
                    self.flaw = self.flaw or f"the header holds a field with a blank before its colon: {field[:40]!r}"
            elif number or not field.startswith(b"From "):  # an mbox separator may stand on top
                self.flaw = self.flaw or f"the header holds a line that is no field: {field[:40]!r}"

    def body_hash(self, relaxed: bool) -> bytes:
        """SHA-256 of the canonical body."""
        if relaxed not in self._body_hashes:
            empty_line = 2 if self._raw.startswith(b"\r", self._end) else 1
            body = canon.crlf(self._raw[self._end + empty_line :])
            self._body_hashes[relaxed] = sha256((canon.relaxed_body if relaxed else canon.simple_body)(body)).digest()
        return self._body_hashes[relaxed]
