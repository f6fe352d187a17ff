"""`mail.message`: the standard library's EmailMessage, made safe for bytes that anybody may send.

The library (policy.default) raises on some header fields, on deep nesting and on unknown charsets, and takes seconds for a long
Content-Type (9 s for 100 KB: quadratic). None of that may end a handler that only asked for the text of a mail.
"""

import sys
from email import message_from_bytes
from email.contentmanager import ContentManager, raw_data_manager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from functools import lru_cache
from typing import Any, cast

_MIME_FIELD = 2048
"""Characters of a Content-* field that are read: a boundary has 70, a file name by RFC 2231 seldom more than a thousand."""
_FIELD = 64 * 1024
"""Characters of any other field: more addresses than a record may have recipients."""


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


class _Policy(EmailPolicy):
    """policy.default, but a field that the library cannot read counts as empty, and one that is too long is cut."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        if hasattr(value, "name"):
            return value
        return _parsed(name, "".join(value.splitlines()))


_POLICY: Any = _Policy(content_manager=_Content())


@lru_cache(maxsize=256)
def _cached(name: str, value: str) -> Any:
    # The library asks for Content-Type ten times while it reads one part, and would parse it each time.
    try:
        return _POLICY.header_factory(name, value)
    except Exception:  # AttributeError, IndexError, RecursionError and more are known (corpus/malformed)
        if _depth() > _DEEP:  # the parts are nested too deeply, which is for `parse` to see
            raise
        return _POLICY.header_factory(name, "")


def _depth() -> int:
    """How many calls we are deep in."""
    frame, depth = sys._getframe(), 0
    while frame.f_back:
        frame, depth = frame.f_back, depth + 1
    return depth


def _parsed(name: str, value: str) -> Any:
    limit = _MIME_FIELD if name.lower().startswith("content-") else _FIELD
    value = value[:limit]
    return _cached(name, value) if len(value) <= _MIME_FIELD else _cached.__wrapped__(name, value)


def parse(raw: bytes) -> EmailMessage:
    """The mail as EmailMessage. Never raises; of a mail too deeply nested to be read as parts, the header with the rest as its text."""
    try:
        return message_from_bytes(raw, EmailMessage, policy=_POLICY)
    except Exception:  # noqa: BLE001 - RecursionError for deep nesting; whatever else the parser has in it must not end the handler
        return cast(EmailMessage, BytesParser(EmailMessage, policy=_POLICY).parsebytes(raw, headersonly=True))
