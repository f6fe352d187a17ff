"""Which mail an id means: a mail id, a delivery id, the beginning of either, an OOPS id, or a Message-ID."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from postroom.reading.gathering import keyed
from postroom.reading.pending import waiting, waiting_facts
from streams.log import Reader
from topology.records import Topics

_FEWEST_DIGITS = 8
_HEX = frozenset("0123456789abcdef")
_MOST_NAMED = 5
"""Mails that are named where an id could mean several."""


class NotFound(Exception):
    """No mail has that id."""


class Ambiguous(Exception):
    """Several mails have that id, or an id that begins so."""


def resolve(log: Reader, topics: Topics, text: str) -> str:
    """The mail id that an id stands for: a mail id, a delivery id, at least 8 digits of either, an OOPS id, or a Message-ID. What has
    an outcome is looked at first, and what is still on its way only when nothing there has the id. Raises NotFound, Ambiguous."""
    wanted = _Wanted(text)
    if wanted.whole_id and any(True for _ in keyed(log, topics, wanted.whole_id)):
        return wanted.whole_id
    found = _mails(_facts_of(log, topics.outcomes), wanted) or _mails(_facts_on_their_way(log, topics), wanted)
    if not found:
        raise NotFound(f"no mail on the log has the id {text}{wanted.hint}")
    if len(found) > 1:
        raise Ambiguous(f"{text} could be any of several mails: {', '.join(found)}")
    return found[0]


class _Wanted:
    """An id as given. needle: what the facts of its mail contain, as bytes. whole_id: set when it is a whole mail or delivery id. hint:
    for who gave less of such an id than it takes."""

    def __init__(self, text: str) -> None:
        bare = text.strip().removeprefix("<").removesuffix(">")
        lower = bare.lower()
        self.whole_id: str | None = None
        self.hint = ""
        self._names: tuple[str, ...]
        if lower.startswith("oops-"):
            self._id, self._names = "OOPS-" + lower.removeprefix("oops-"), ("oops_id",)
        elif set(lower) <= _HEX and _FEWEST_DIGITS <= len(lower) <= 32:
            self._id, self._names = lower, ("mail_id", "delivery_id")
            self.whole_id = lower if len(lower) == 32 else None
        else:
            self._id, self._names = bare, ("message_id",)
            if bare and set(lower) <= _HEX and len(lower) < _FEWEST_DIGITS:
                self.hint = f"; of a mail id or delivery id give at least {_FEWEST_DIGITS} digits"
        self._is_prefix = self._names == ("mail_id", "delivery_id")
        needle = orjson.dumps(self._id)
        self.needle = needle[:-1] if self._is_prefix else needle

    def fits(self, facts: dict[str, Any]) -> bool:
        """Whether the facts are of such a mail."""
        for member in ("envelope", "route", "outcome"):
            for name in self._names:
                value = (facts.get(member) or {}).get(name)
                if value is not None and (value.startswith(self._id) if self._is_prefix else value == self._id):
                    return True
        return False


def _mails(documents: Iterable[bytes], wanted: _Wanted) -> list[str]:
    """The ids of the mails that fit, each once, as far as it takes to tell that there are several."""
    found: dict[str, None] = {}
    for data in documents:
        if wanted.needle in data:
            facts = orjson.loads(data)
            if wanted.fits(facts):
                found[facts["envelope"]["mail_id"]] = None
                if wanted.whole_id or len(found) > _MOST_NAMED:
                    break
    return list(found)


def _facts_of(log: Reader, topic: str) -> Iterator[bytes]:
    if log.partitions(topic):
        yield from (record.value for record in log.read(topic))


def _facts_on_their_way(log: Reader, topics: Topics) -> Iterator[bytes]:
    yield from _facts_of(log, topics.screened)
    yield from (waiting_facts(log.id, record) for _, record in waiting(log, topics))
