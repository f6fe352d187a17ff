"""`mail.message`: the standard library's EmailMessage, made safe for bytes that anybody may send.

The library (policy.default) raises on some header fields, on deep nesting and on unknown charsets, and takes seconds for a long
Content-Type (9 s for 100 KB: quadratic) and minutes for a long To (127 s for 64 KiB of quotes). None of that may end a handler that only
asked for the text of a mail.
"""

import re
import sys
from email.contentmanager import ContentManager, raw_data_manager
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import Any, cast

from topology.address import parse_list
from topology.head import MAX_HEADER, split

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

_PARTS = 10_000
_LEVELS = 20
"""Parts, and parts within each other, beyond which a mail is not read as parts: an empty one is five octets, and each line is held against
the boundaries of all levels. Honest mail has some hundreds, and 5 levels."""
_LINES = 1_000_000
_SHORT = 16
"""Lines beyond which a mail is not read as parts either, where they have fewer octets than that on average: each is an object meanwhile."""
_OBSOLETE = re.compile(rb"(?<![^\r\n])([!-9;-~]+)[ \t]+(?=:)")
"""A field with blanks before its colon (RFC 5322 section 4.5): the library would end the header there, and take it for the text."""
_DEFECTS = 100
"""Defects that are kept of a part; each line of it can be one."""


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
    except Exception:  # noqa: BLE001 - AttributeError, IndexError, RecursionError and more are known (corpus/malformed)
        return _REGISTRY(name, "")


class _TooManyError(Exception):
    """A mail has more parts, or more levels of them, than are read."""


class _Defects(list[Any]):
    def append(self, defect: Any) -> None:
        if len(self) < _DEFECTS:
            super().append(defect)


class _Parts:
    """Makes the parts of one mail for the parser. Raises _TooManyError."""

    def __init__(self) -> None:
        self._made = 0
        self._root = 0

    def __call__(self, policy: Any) -> EmailMessage:
        depth = _depth()
        self._made += 1
        if self._made <= 2:  # the parser makes one for a trial, then the mail itself
            self._root = depth
        if self._made > _PARTS + 2 or depth - self._root > _LEVELS:
            raise _TooManyError
        part = EmailMessage(policy)
        part.defects = _Defects()
        return part


def _depth() -> int:
    """How many calls we are deep in; the parser takes one a level."""
    frame, depth = sys._getframe(), 0
    while frame.f_back:
        frame, depth = frame.f_back, depth + 1
    return depth


def parse(raw: bytes) -> EmailMessage:
    """The mail as EmailMessage. Never raises; of a mail with more than 10,000 parts, more than 20 levels of them, or more than a million
    lines of hardly anything, the header with the rest as its text."""
    make: Any = _Parts
    header, body = split(raw)
    if _OBSOLETE.search(header):
        raw = _OBSOLETE.sub(rb"\1", header) + b"\n" + raw[body:]
    lines = max(raw.count(b"\n"), raw.count(b"\r"))
    if lines <= _LINES or lines * _SHORT < len(raw):
        try:
            return cast(EmailMessage, BytesParser(make(), policy=_policy()).parsebytes(raw))
        except Exception:  # noqa: BLE001, S110 - _TooManyError; whatever else the parser has in it must not end the handler
            pass
    header, body = split(raw)
    # What is longer has been refused long before (`malformed`), and is read in time here, too.
    message = cast(EmailMessage, BytesParser(make(), policy=_policy()).parsebytes(header[:MAX_HEADER], headersonly=True))
    message.set_payload(raw[body:].decode("ascii", "surrogateescape"))
    return message
