"""Canonical forms (RFC 6376 3.4), on bytes whose line ends are CRLF. Each is a few passes in C and linear in the input."""

from __future__ import annotations


def crlf(data: bytes) -> bytes:
    """The bytes with every bare LF made CRLF. A bare CR stays: it ends no line (RFC 5322 2.3)."""
    if data.count(b"\n") == data.count(b"\r\n"):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _single_blanks(data: bytes) -> bytes:
    # Every pass halves the runs of blanks, so a run of 10 MiB takes 23 passes.
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def relaxed_field(field: bytes) -> bytes:
    """A header field (name, colon, value with its folds, without the last CRLF) by 3.4.2, without the last CRLF."""
    name, _, value = field.partition(b":")
    return name.rstrip(b" \t").lower() + b":" + _single_blanks(value.replace(b"\r\n", b"")).strip(b" ")


def _without_empty_end(body: bytes) -> bytes:
    """The body without the empty lines at its end, and ended by CRLF; nothing when nothing else was there."""
    kept = body.rstrip(b"\r\n")
    ends = body[len(kept) :]
    # A bare CR is no part of a line end, though rstrip took it for one: what ends in it is a line with something on it.
    last_bare_cr = ends.replace(b"\r\n", b"\n\n").rfind(b"\r")
    if last_bare_cr >= 0:
        kept = body[: len(kept) + last_bare_cr + 1]
    return kept + b"\r\n" if kept else b""


def simple_body(body: bytes) -> bytes:
    """The body by 3.4.3. An absent one is CRLF."""
    return _without_empty_end(body) or b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """The body by 3.4.4. An absent one is empty."""
    body = _single_blanks(body)
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    return _without_empty_end(body.removesuffix(b" "))
