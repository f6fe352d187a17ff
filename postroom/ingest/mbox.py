"""Mailboxes in one file (RFC 4155; the "rd" rule of quoting), read as a stream.

A mail is what stands between two separators, less the one blank line before the next separator or the end of the file: so a mail
keeps its bytes, and its ids, when others are added behind it. A separator is a "From " line that starts the file, or follows a blank
line and ends in a date. Where the file's first has no date, as Thunderbird's have none now, others need none, and in any file a date
may lack its weekday; what tells these from text is that a header's field follows. Lines of `>From ` lose one `>` (mboxrd), which also
gives signed text back what most programs took from it.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple, Protocol

from postroom.ingest.reading import Keeper, Kept
from topology.envelope import date_ms

_LINE = 64 << 10
"""Octets that are read of a line at once; longer lines come in several pieces."""
_MAX_SEPARATOR = 1024
_STARTS = re.compile(rb"From (?![ \t]*:)")
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?"
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_ZONE = rb"(?:[A-Z][A-Z0-9]{1,7}|[+-]\d{4})"
_TIME = (
    rb"(?:" + _MONTH + rb"\s{1,3}\d{1,2}|\d{1,2}\s{1,3}" + _MONTH + rb"(?:\s{1,3}\d{4})?)\s{1,3}\d{1,2}:\d{1,2}(?::\d{1,2})?"
    rb"(?:\s{1,3}" + _ZONE + rb"){0,2}(?:\s{1,3}\d{4})?(?:\s{1,3}" + _ZONE + rb")?"
)
_END = rb"(?:\s{1,3}\([^()]{1,64}\))?(?:\s{1,3}remote from \S{1,255})?\s{0,3}\Z"
_DATE = re.compile(rb"\s(" + _DAY + rb"\s{1,3}" + _TIME + rb")" + _END)
_WITHOUT_DAY = re.compile(rb"From\s{1,3}\S{1,320}\s{1,3}(" + _TIME + rb")" + _END)
_FIELD = re.compile(rb"[!-9;-~]{1,998}[ \t]*:(?!//)")
_THUNDERBIRD = (b"From \n", b"From \r\n")
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
    dated, end = _date(separator), len(separator)
    undated = dated is None
    keeper = Keeper(max_size)
    blank = b""  # a blank line that may turn out to be the one before a separator
    fresh = True  # the next piece begins a line
    for line, following in pairwise(chain(iter(partial(file.readline, _LINE), b""), (b"",))):
        if blank and line.startswith(b"From ") and _separates(line[:_MAX_SEPARATOR], following, undated):
            yield Boxed(keeper.done(), _ms(dated), end)
            dated, keeper, blank = _date(line[:_MAX_SEPARATOR]), Keeper(max_size), b""
        else:
            if blank:
                keeper.add(blank)
            blank = line if fresh and line in (b"\n", b"\r\n") else b""
            if not blank:
                keeper.add(line[1:] if fresh and line.startswith(b">") and _QUOTED.match(line) else line)
        fresh = line.endswith(b"\n")
        end += len(line)
    yield Boxed(keeper.done(), _ms(dated), end)


def _separates(line: bytes, following: bytes, undated: bool) -> bool:
    """Whether a "From " line behind a blank one is a separator. following: the next line. undated: the file's first has no date."""
    if _DATE.search(line):
        return True
    if not line.endswith(b"\n") or not _FIELD.match(following):
        return False
    # A mailbox of dates has bare separators behind them where a new Thunderbird went on with an old one's; it begins each mail so.
    return undated or bool(_WITHOUT_DAY.match(line)) or (line in _THUNDERBIRD and following.startswith(b"X-Mozilla-"))


def _date(separator: bytes) -> bytes | None:
    match = _DATE.search(separator) or _WITHOUT_DAY.match(separator)
    return match[1] if match else None


def _ms(date: bytes | None) -> int | None:
    return None if date is None else date_ms(date.decode("ascii"))
