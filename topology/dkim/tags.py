"""Tag lists: `name=value; name=value`, in DKIM-Signature fields and in key records (RFC 6376 3.2)."""

from __future__ import annotations

import binascii
import re

FWS = " \t\r\n"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Printable ASCII and folding white space by RFC 6376 3.2, and UTF-8 beyond ASCII by RFC 8616.
_LEGAL = bytes([9, 10, 13, *range(0x20, 0x7F), *range(0x80, 0x100)])


class TagError(ValueError):
    """The text is no tag list; the words say where."""


def parse(text: bytes) -> dict[str, str]:
    """The tags by name, as written (names and values are case-sensitive), without white space around them.

    Raises TagError for a control character, bytes that are not UTF-8, a part that is not `name=value`, and a name that stands
    twice: the RFC makes the whole list invalid then. One `;` may end the list.
    """
    if text.translate(None, _LEGAL):
        raise TagError("a control character stands in it")
    try:
        specs = text.decode().split(";")
    except UnicodeDecodeError as error:
        raise TagError("it is not UTF-8") from error
    if not specs[-1].strip(FWS):
        specs.pop()
    tags: dict[str, str] = {}
    for spec in specs:
        name, equals, value = spec.partition("=")
        name = name.strip(FWS)
        if not equals or not _NAME.fullmatch(name):
            raise TagError(f"{spec.strip(FWS)[:40]!r} is not name=value")
        if name in tags:
            raise TagError(f"{name}= stands twice")
        tags[name] = value.strip(FWS)
    return tags


def without(text: bytes, name: bytes) -> bytes:
    """The tag list with that tag's value, and all white space around the value, taken out; every other byte stays.

    This is the form in which a signature field enters its own hash (RFC 6376 3.7)."""
    specs = text.split(b";")
    for place, spec in enumerate(specs):
        tag, equals, _ = spec.partition(b"=")
        if tag.strip(b" \t\r\n") == name:
            specs[place] = tag + equals
    return b";".join(specs)


def base64(value: str) -> bytes:
    """The bytes of a base64 value that may be folded anywhere. Raises TagError when it is none."""
    try:
        return binascii.a2b_base64(b"".join(value.encode().split()), strict_mode=True)
    except binascii.Error as error:
        raise TagError("not base64") from error
