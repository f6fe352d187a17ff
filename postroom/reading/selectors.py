"""Selectors: which outcomes are wanted. Flags are joined by and; a flag given more than once takes any of its values.

Shared by every command that chooses mails. The flags as they were given are a `Selectors`; `filter()` makes them ready.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from postroom.reading.rows import Found, Row
from postroom.reading.times import parse_time
from postroom.reading.where import WhereError, parse_where
from topology.address import domain_key, envelope_key
from topology.facts import REASONS, rfc3339
from topology.records import recipient_key

Test = Callable[[Found], bool]

_STRENGTHS = ("unknown", "weak", "strong")
_ID = re.compile(r"[0-9a-f]{8,32}\Z")
_RANGE = re.compile(r"(?:(\d{1,9}):)?(\d{1,18})(?:-(\d{1,18}))?\Z")


class SelectorError(ValueError):
    """A flag that cannot be understood. Its text names the flag and what to write."""

    def __init__(self, flag: str, why: str) -> None:
        super().__init__(f"{flag}: {why}")
        self.flag = flag
        self.why = why


class Filter:
    """Flags made ready. needles: what must stand in the bytes of the facts, any of each group, so that most of what is not wanted
    need not be parsed. tests: what then decides. knows_replies: whether one of them looks at what became of our replies."""

    def __init__(self, needles: Sequence[tuple[bytes, ...]], tests: Sequence[Test], *, knows_replies: bool) -> None:
        self._needles = needles
        self._tests = tests
        self.knows_replies = knows_replies

    @property
    def takes_all(self) -> bool:
        """Whether nothing was asked for."""
        return not self._tests

    def may_want(self, data: bytes) -> bool:
        """Whether a facts document, as bytes, may be wanted; False is certain."""
        return all(any(needle in data for needle in group) for group in self._needles)

    def wants(self, found: Found) -> bool:
        """Whether a row is wanted."""
        return all(test(found) for test in self._tests)


@dataclass(frozen=True, slots=True)
class Selectors:
    """The flags, as given. sender: the author's or the envelope sender's address, "" or "<>" for the null sender; recipient and
    domain: of the delivery, or of any envelope recipient where a mail ended whole; id: a mail id or a delivery id, or at least 8
    digits of its beginning; since and until: of the time of receipt (until exclusive); topic and offset_range
    (`[PARTITION:]FIRST[-LAST]`): of the raw record; where: see `where`."""

    status: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    handler: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    envelope_sender: tuple[str, ...] = ()
    recipient: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    account: tuple[str, ...] = ()
    strength: tuple[str, ...] = ()
    message_id: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    oops: tuple[str, ...] = ()
    fingerprint: tuple[str, ...] = ()
    generation: tuple[int, ...] = ()
    topic: tuple[str, ...] = ()
    offset_range: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    where: str | None = None

    @property
    def given(self) -> bool:
        """Whether anything is asked for at all."""
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))

    def filter(self, now_ms: int) -> Filter:
        """Makes the flags ready. now_ms: what relative times count from. Raises SelectorError."""
        statuses = _known("--status", self.status, REASONS)
        reasons = _known("--reason", self.reason, [code for codes in REASONS.values() for code in codes])
        strengths = _known("--strength", self.strength, _STRENGTHS)
        message_ids = [text.strip().removeprefix("<").removesuffix(">") for text in self.message_id]
        oopses = ["OOPS-" + text.strip().upper().removeprefix("OOPS-").lower() for text in self.oops]
        ids = [_id(text) for text in self.id]
        needles = [
            _members("status", statuses),
            _members("reason", reasons),
            _members("handler", self.handler),
            _members("account", self.account),
            _members("strength", strengths),
            _members("message_id", message_ids),
            _members("oops_id", oopses),
            _members("fingerprint", self.fingerprint),
            tuple(b'"' + text.encode() for text in ids),
        ]
        tests = [
            *_equal(lambda found: found.row["status"], statuses),
            *_equal(lambda found: found.row["reason"], reasons),
            *_equal(lambda found: found.row["handler"], self.handler),
            *_equal(lambda found: found.row["account"], self.account),
            *_equal(lambda found: found.row["strength"], strengths),
            *_equal(lambda found: found.row["message_id"], message_ids),
            *_equal(lambda found: found.row["oops_id"], oopses),
            *_equal(lambda found: found.row["generation"], self.generation),
            *_equal(lambda found: (found.document.get("outcome") or {}).get("fingerprint"), self.fingerprint),
            *_equal(lambda found: found.row["envelope_sender"], [_address("--envelope-sender", text) for text in self.envelope_sender]),
            *self._senders(),
            *self._recipients(),
            *self._times(now_ms),
            *self._positions(),
            *self._where(now_ms),
        ]
        if ids:
            tests.append(lambda found: any((found.row[name] or "").startswith(id_) for name in ("mail_id", "delivery_id") for id_ in ids))
        return Filter([group for group in needles if group], tests, knows_replies=self.where is not None)

    def _senders(self) -> Iterable[Test]:
        if self.sender:
            wanted = frozenset(_address("--sender", text) for text in self.sender)
            yield lambda found: found.row["sender"] in wanted or found.row["envelope_sender"] in wanted

    def _recipients(self) -> Iterable[Test]:
        if self.recipient:
            wanted = frozenset(_address("--recipient", text) for text in self.recipient)
            yield lambda found: any(recipient in wanted for recipient in _addressed(found))
        if self.domain:
            domains = frozenset(_domain(text) for text in self.domain)
            yield lambda found: any(recipient.rpartition("@")[2] in domains for recipient in _addressed(found))

    def _times(self, now_ms: int) -> Iterable[Test]:
        # Both sides have one form of fixed width, so that text compares as time does.
        if self.since is not None:
            since = _time("--since", self.since, now_ms)
            yield lambda found: (found.row["received_at"] or "") >= since
        if self.until is not None:
            until = _time("--until", self.until, now_ms)
            yield lambda found: (found.row["received_at"] or "") < until

    def _positions(self) -> Iterable[Test]:
        yield from _equal(lambda found: (found.document.get("raw") or {}).get("topic"), self.topic)
        if self.offset_range:
            ranges = [_range(text) for text in self.offset_range]
            yield lambda found: any(_within(found.document.get("raw"), *wanted) for wanted in ranges)

    def _where(self, now_ms: int) -> Iterable[Test]:
        if self.where is not None:
            try:
                condition = parse_where(self.where, now_ms)
            except WhereError as error:
                raise SelectorError("--where", str(error)) from error
            yield lambda found: condition(found.fields())


def _known(flag: str, given: Sequence[str], known: Iterable[str]) -> Sequence[str]:
    known = list(known)
    for value in given:
        if value not in known:
            raise SelectorError(flag, f"{value!r} is not one of {', '.join(known)}")
    return given


def _members(name: str, values: Iterable[str]) -> tuple[bytes, ...]:
    """What a facts document that has the member with one of these values contains."""
    return tuple(f'"{name}":'.encode() + orjson.dumps(value) for value in values)


def _equal(value: Callable[[Found], Any], wanted: Iterable[Any]) -> Iterable[Test]:
    chosen = frozenset(wanted)
    if chosen:
        yield lambda found: value(found) in chosen


def _addressed(found: Found) -> list[str]:
    """The recipient of the delivery, or, of a mail that ended whole, those of its hand-over."""
    row: Row = found.row
    if row["recipient"] is not None:
        return [row["recipient"]]
    screening = found.document.get("screening") or {}
    return [recipient_key(text) for text in screening.get("recipients") or found.document["envelope"]["recipients"]]


def _address(flag: str, text: str) -> str:
    known = envelope_key(text)
    if known is None:
        raise SelectorError(flag, f"{text!r} is no mail address")
    return known


def _domain(text: str) -> str:
    known = domain_key(text.removeprefix("@"))
    if known is None:
        raise SelectorError("--domain", f"{text!r} is no domain")
    return known


def _time(flag: str, text: str, now_ms: int) -> str:
    try:
        return rfc3339(parse_time(text, now_ms))
    except (ValueError, OverflowError) as error:
        raise SelectorError(flag, str(error)) from error


def _id(text: str) -> str:
    if not _ID.match(text.strip().lower()):
        raise SelectorError("--id", f"{text!r} is no mail id or delivery id: 32 hex digits, or at least the first 8 of them")
    return text.strip().lower()


def _range(text: str) -> tuple[int | None, int, int]:
    found = _RANGE.match(text)
    if not found:
        raise SelectorError("--offset-range", f"{text!r} should be FIRST-LAST or PARTITION:FIRST-LAST, such as 3:100-200")
    first = int(found[2])
    return int(found[1]) if found[1] else None, first, int(found[3]) if found[3] else first


def _within(raw: dict[str, Any] | None, partition: int | None, first: int, last: int) -> bool:
    return raw is not None and partition in (None, raw["partition"]) and first <= raw["offset"] <= last
