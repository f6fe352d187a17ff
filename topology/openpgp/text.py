"""The signed text, for handlers: only what the signature covers, as text."""

import codecs
import re

from topology.openpgp import clear, mime
from topology.openpgp.errors import AmbiguousError, DamagedError
from topology.openpgp.result import SignedRange

# Charsets that leave ASCII as it is. Others, and Python's codecs that are no charsets, could make another text of signed bytes:
# a clear-signed text does not cover the header that names its charset.
_CHARSETS = re.compile(
    r"ascii|utf-8|iso8859-\d+|cp125\d|cp874|tis-620|koi8-[rut]|mac-roman|gb2312|gbk|gb18030|big5|big5hkscs|shift_jis|cp932|euc_jp|"
    r"euc_kr|cp949|iso2022_jp"
)


def charset(content_type: mime.ContentType) -> str:
    """The charset that a part names, as Python knows it, or "" when it names none that is used here."""
    return _known(content_type.parameters.get(b"charset", b"").decode("ascii", "replace"))


def _known(name: str) -> str:
    try:
        known = codecs.lookup(name).name if name else ""
    except (LookupError, ValueError):
        return ""
    return known if _CHARSETS.fullmatch(known) else ""


def signed_text(raw: bytes, signed: SignedRange) -> str:
    """The text that the good signature covers; `signed` comes from the verification of the same bytes.

    clear: dash escapes removed, blanks at the ends of lines and the last line end left out, as they are not signed. mime: the first
    text/plain part within the signed part, decoded, or "" when there is none. Line ends are LF. What does not decode becomes U+FFFD.
    Never raises.
    """
    try:
        return _clear_text(raw, signed) if signed.form == "clear" else _mime_text(raw, signed)
    except (AmbiguousError, DamagedError, IndexError):
        return ""


def _clear_text(raw: bytes, signed: SignedRange) -> str:
    body = mime.decode(raw, mime.part_at(raw, signed.part)) if signed.decoded else raw
    text = clear.canonical(body[signed.start : signed.end])
    # The header that names the charset is not signed, so what can be UTF-8 is; ISO-2022-JP is known by its escapes.
    if b"\x1b" not in text:
        try:
            return _lines(text.decode("utf-8"))
        except UnicodeDecodeError:
            pass
    return _lines(text.decode(_known(signed.charset) or "utf-8", "replace"))


def _mime_text(raw: bytes, signed: SignedRange) -> str:
    for part, spans in mime.walk(raw, signed.start, signed.end):
        if spans is None and part.type.name == b"text/plain":
            return _lines(mime.decode(raw, part).decode(charset(part.type) or "utf-8", "replace"))
    return ""


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")
