"""Mails as Apple's Mail keeps them, one a file: a line with a count of octets, the mail of that size, and a property list about it."""

import re
from typing import Protocol

from postroom.ingest.reading import Kept, Readable, read_mail

SUFFIX = ".emlx"
_COUNT = re.compile(rb" {0,20}(\d{1,18}) {0,20}\r?\n")


class File(Readable, Protocol):
    """A binary stream with lines."""

    def readline(self, size: int, /) -> bytes: ...


def starts(beginning: bytes) -> bool:
    """Whether a file that begins so, and is called .emlx, is one."""
    return _COUNT.match(beginning) is not None


def mail(file: File, max_size: int) -> Kept:
    """The mail; `starts` has looked at the file. Raises what reading raises; OSError when the file ends before the mail does."""
    count = int(file.readline(64))
    kept = read_mail(_First(file, count), max_size)
    if kept.size < count:
        raise OSError(f"it ends after {kept.size} of the {count} octets that its first line counts")
    return kept


class _First:
    """The first octets of a stream."""

    def __init__(self, stream: Readable, octets: int) -> None:
        self._stream = stream
        self._left = octets

    def read(self, size: int, /) -> bytes:
        piece = self._stream.read(min(size, self._left))
        self._left -= len(piece)
        return piece
