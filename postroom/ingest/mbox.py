"""Mailboxes in one file (RFC 4155; the "rd" rule of quoting), read as a stream.

A mail is what stands between two separators, less the one blank line before the next separator or the end of the file: so a mail
keeps its bytes, and its ids, when others are added behind it. A separator is a "From " line that starts the file, or follows a blank
line and ends in a date. Lines of `>From ` lose one `>` (mboxrd), which also gives signed text back what most programs took from it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from postroom.ingest.reading import Keeper, Kept
from topology.envelope import date_ms

_LINE = 64 << 10
"""Octets that are read of a line at once; longer lines come in several pieces."""
_MAX_SEPARATOR = 1024
_STARTS = re.compile(rb"From (?![ \t]*:)")
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = re.compile(
    rb"\s(" + _DAY + rb"\s{1,3}(?:" + _MONTH + rb"\s{1,3}\d{1,2}|\d{1,2}\s{1,3}" + _MONTH + rb"(?:\s{1,3}\d{4})?)\s{1,3}"
    rb"\d{1,2}:\d{1,2}(?::\d{1,2})?(?:\s{1,3}[A-Z][A-Z0-9]{1,7}|\s{1,3}[+-]\d{4}){0,2}(?:\s{1,3}\d{4})?(?:\s{1,3}[+-]\d{4})?)"
    rb"(?:\s{1,3}remote from \S{1,255})?\s{0,3}\Z"
)
_QUOTED = re.compile(rb">+From ")


class Lines(Protocol):
    """A binary stream with lines."""

    def readline(self, size: int, /) -> bytes: ...


class Boxed(NamedTuple):
    """One mail of a mailbox. time: that of its separator, in ms since 1970 UTC, or None. end: the offset in the file behind it."""

    mail: Kept
    time: int | None
    end: int


def starts(beginning: bytes) -> bool:
    """Whether a file that begins so is a mailbox. Its first line must end as lines do: an old Macintosh file with its bare CRs
    would be one line."""
    line = beginning[:_MAX_SEPARATOR].partition(b"\n")
    return bool(_STARTS.match(beginning)) and bool(line[1]) and b"\r" not in line[0].removesuffix(b"\r")


def mails(file: Lines, max_size: int) -> Iterator[Boxed]:
    """The mails of a mailbox, first to last; `starts` has looked at it. Holds one mail at a time, and of an oversized one its
    beginning. Raises what reading raises."""
    separator = file.readline(_MAX_SEPARATOR)
    time, end = _time(separator), len(separator)
    keeper = Keeper(max_size)
    blank = b""  # a blank line that may turn out to be the one before a separator
    fresh = True  # the next piece begins a line
    while line := file.readline(_LINE):
        if blank and line.startswith(b"From ") and (match := _DATE.search(line[:_MAX_SEPARATOR])):
            yield Boxed(keeper.done(), time, end)
            time, keeper, blank = date_ms(match[1].decode("ascii")), Keeper(max_size), b""
        else:
            if blank:
                keeper.add(blank)
            blank = line if fresh and line in (b"\n", b"\r\n") else b""
            if not blank:
                keeper.add(line[1:] if fresh and line.startswith(b">") and _QUOTED.match(line) else line)
        fresh = line.endswith(b"\n")
        end += len(line)
    yield Boxed(keeper.done(), time, end)


def _time(separator: bytes) -> int | None:
    match = _DATE.search(separator)
    return date_ms(match[1].decode("ascii")) if match else None
