"""`mail.message`: the standard library's EmailMessage, made safe for bytes that anybody may send.

The library (policy.default) raises on some header fields, on deep nesting and on unknown charsets, and takes seconds for a long
Content-Type (9 s for 100 KB: quadratic) and minutes for a long To (127 s for 64 KiB of quotes). None of that may end a handler that only
asked for the text of a mail.
"""

import sys
from email import message_from_bytes
from email.contentmanager import ContentManager, raw_data_manager
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import Any, cast

from topology.address import parse_list

_MIME_FIELD = 2048
"""Characters of a Content-* field that are read: a boundary has 70, a file name by RFC 2231 seldom more than a thousand."""
_ADDRESSES = 4096
"""Characters of addresses that the library reads as they are, 0.2 s at the worst: a hundred people with their names."""
_BARE_ADDRESSES = 8192
"""Characters of a longer list, of which our own reader leaves the bare addresses: some three hundred, in 0.2 s at the worst."""
_FIELD = 64 * 1024
"""Characters of any other field, in 0.5 s at the worst."""
_WORK = 256 * 1024
"""Characters of fields with a grammar that are read of one mail, a long field counting more: 4 s at the worst. Two thousand attachments
have that many."""

_ADDRESS_FIELDS = frozenset(prefix + name for prefix in ("", "resent-") for name in ("from", "sender", "to", "cc", "bcc", "reply-to"))

_DEEP = 400
"""Calls. A field by itself is read from a few dozen calls deep; Python's limit is 1,000, and the parser takes three or more a level."""


class _Content(ContentManager):
    """The standard's, but text in an unknown charset is read as UTF-8 with replacement characters."""

    def get_content(self, msg: Any, *args: Any, **kw: Any) -> Any:
        if msg.get_content_maintype() != "text":
            return raw_data_manager.get_content(msg, *args, **kw)
        content = msg.get_payload(decode=True) or b""
        try:
            return content.decode(msg.get_param("charset", "ASCII"), "replace")
        except (LookupError, TypeError, ValueError):  # no such charset, a codec that is none of text, a parameter of three parts
            return content.decode("utf-8", "replace")


_CONTENT = _Content()
_REGISTRY: Any = HeaderRegistry()


class _Fields:
    """The fields of one mail that have been read. The library asks for Content-Type ten times while it reads one part, and would parse
    it each time; and a thousand parts may each have a field that takes it long, so what is read of one mail has an end."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Any] = {}
        self._left = _WORK

    def get(self, name: str, value: str) -> Any:
        """The field; empty where the library cannot read it, or the mail has had its share."""
        low = name.lower()
        if low in _ADDRESS_FIELDS:
            value = _addresses(value)
        elif low.startswith("content-"):
            value = value[:_MIME_FIELD]
        else:
            return _parsed(name, value[:_FIELD])
        known = self._read.get((name, value))
        if known is None:
            work = len(value) + len(value) ** 2 // _MIME_FIELD
            if work > self._left:
                return _parsed(name, "")
            self._left -= work
            known = self._read[name, value] = _parsed(name, value)
        return known


class _Policy(EmailPolicy):
    """policy.default, but a field that the library cannot read counts as empty, and one that is too long is cut."""

    fields: Any = None

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        if hasattr(value, "name"):
            return value
        return self.fields.get(name, "".join(value.splitlines()))


def _policy() -> Any:
    """The policy for one mail."""
    make: Any = _Policy
    return make(header_factory=_REGISTRY, content_manager=_CONTENT, fields=_Fields())


def _addresses(value: str) -> str:
    """An address field that the library reads in time. Of a longer one the addresses are left, without names, as many as find room; what
    breaks the grammar is left out. To cut it anywhere could make an address that nobody wrote."""
    if len(value) <= _ADDRESSES:
        return value
    found, _ = parse_list(value[:_FIELD].rpartition(",")[0] if len(value) > _FIELD else value)
    bare = ", ".join(f"{address.local}@{address.domain}" for address in found)
    return bare if len(bare) <= _BARE_ADDRESSES else bare[:_BARE_ADDRESSES].rpartition(", ")[0]


def _parsed(name: str, value: str) -> Any:
    try:
        return _REGISTRY(name, value)
    except Exception:  # AttributeError, IndexError, RecursionError and more are known (corpus/malformed)
        if _depth() > _DEEP:  # the parts are nested too deeply, which is for `parse` to see
            raise
        return _REGISTRY(name, "")


def _depth() -> int:
    """How many calls we are deep in."""
    frame, depth = sys._getframe(), 0
    while frame.f_back:
        frame, depth = frame.f_back, depth + 1
    return depth


def parse(raw: bytes) -> EmailMessage:
    """The mail as EmailMessage. Never raises; of a mail too deeply nested to be read as parts, the header with the rest as its text."""
    try:
        return message_from_bytes(raw, EmailMessage, policy=_policy())
    except Exception:  # noqa: BLE001 - RecursionError for deep nesting; whatever else the parser has in it must not end the handler
        return cast(EmailMessage, BytesParser(EmailMessage, policy=_policy()).parsebytes(raw, headersonly=True))
