"""Outcomes out of mail.outcomes: in the order in which the log took them, each with its reply, the latest generation of each delivery."""

import heapq
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from postroom.reading import glance
from postroom.reading.rows import Found, outcome_row, reply_state
from postroom.reading.selectors import Filter
from streams.log import Reader
from streams.record import Position, Record
from topology.records import Topics, recipient_key

_SENT = re.compile(rb',"reply":\{"reply_id":"([0-9a-f]{32})","status":"sent"')
_WAITING = "waiting"


class Replies:
    """What became of the mails that we owe, by reply id; about 130 bytes each."""

    def __init__(self) -> None:
        self._states: dict[bytes, str] = {}

    def learn(self, data: bytes) -> None:
        """Takes in the facts of a reply event."""
        if found := _SENT.search(data):
            self._states[bytes.fromhex(found[1].decode())] = "sent"
        elif event := glance.document(data).get("reply"):
            self._states[bytes.fromhex(event["reply_id"])] = reply_state(event)

    def state(self, document: dict[str, Any]) -> str | None:
        """The field `reply` of an outcome: `waiting` where no event has come yet, None where nothing is owed."""
        reply_id = document["outcome"].get("reply_id")
        return self._states.get(bytes.fromhex(reply_id), _WAITING) if reply_id else None


class _Later(NamedTuple):
    """An outcome that a replay brought, and what it replaces. recipients: those it is for; empty: everybody of its mail."""

    generation: int
    status: str
    delivery_id: str
    whole: bool
    recipients: frozenset[str]


class Generations:
    """What replays brought: a delivery's outcome is that of its latest generation. Only outcomes of replays take memory.

    A mail that ended whole in one generation may be routed in the next, or the other way round; the ids then differ, so the
    recipients decide what replaces what.
    """

    def __init__(self) -> None:
        self._by_mail: dict[str, list[_Later]] = {}

    def __len__(self) -> int:
        return len(self._by_mail)

    def learn(self, data: bytes) -> None:
        """Takes in the facts of an outcome."""
        if glance.generation(data):
            document = glance.document(data)
            self._by_mail.setdefault(document["envelope"]["mail_id"], []).append(_later(document))

    def superseded(self, document: dict[str, Any]) -> bool:
        """Whether a later generation has replaced this outcome."""
        return any(self._replacing(document))

    def replaced_by(self, document: dict[str, Any]) -> tuple[int, str] | None:
        """The generation and the status of the next outcome after this one; None where it stands."""
        later = min(self._replacing(document), default=None, key=lambda one: one.generation)
        return (later.generation, later.status) if later else None

    def _replacing(self, document: dict[str, Any]) -> Iterator[_Later]:
        later = self._by_mail.get(document["envelope"]["mail_id"])
        if later is not None:
            mine = _later(document)
            yield from (other for other in later if other.generation > mine.generation and _replaces(other, mine))


def _later(document: dict[str, Any]) -> _Later:
    outcome, replay, screening = document["outcome"], document.get("replay") or {}, document.get("screening") or {}
    recipient = outcome.get("recipient")
    named = [recipient] if recipient else replay.get("recipients") or screening.get("recipients") or document["envelope"]["recipients"]
    compared = frozenset(recipient_key(name) for name in named)
    return _Later(replay.get("generation", 0), outcome["status"], outcome["delivery_id"], recipient is None, compared)


def _replaces(later: _Later, earlier: _Later) -> bool:
    if not (later.whole or earlier.whole):
        return later.delivery_id == earlier.delivery_id
    return not later.recipients or not earlier.recipients or not later.recipients.isdisjoint(earlier.recipients)


def merged(log: Reader, topic: str) -> Iterator[Record]:
    """A topic's records in the order of their append times. Ends at what was committed when the reading began."""
    partitions = log.partitions(topic)
    if partitions == 1:
        return log.read(topic, 0)
    return heapq.merge(*(log.read(topic, number) for number in range(partitions)), key=lambda record: record.time)


class Outcomes:
    """The outcomes of a log. Reads mail.outcomes twice: replies and replays come after what they are about."""

    def __init__(self, log: Reader, topics: Topics) -> None:
        self._log = log
        self._topic = topics.outcomes

    def found(self, wanted: Filter, *, every: bool = False) -> Iterator[Found]:
        """The outcomes that are wanted, oldest first by the time when the log took them. every: all generations, not only the
        latest of each delivery. Memory: the replies, and the outcomes of replays. Raises Newer, Transient."""
        replies, generations, _ = self._learned(every=every)
        yield from select(merged(self._log, self._topic), wanted, replies, generations)

    def of_all_generations(self, wanted: Filter) -> tuple[Iterator[Found], Generations, frozenset[Position]]:
        """The wanted outcomes of all generations, what tells which of them later ones have replaced, and the raw records that were
        erased. As `found`."""
        replies, generations, erased = self._learned(every=False)
        return select(merged(self._log, self._topic), wanted, replies), generations, erased

    def _learned(self, *, every: bool) -> tuple[Replies, Generations, frozenset[Position]]:
        replies, generations, erased = Replies(), Generations(), set[Position]()
        for record in self._log.read(self._topic) if self._log.partitions(self._topic) else ():
            kind = record.header("ce_type")
            if kind == glance.REPLY:
                replies.learn(record.value)
            elif kind == glance.OUTCOME and not every:
                generations.learn(record.value)
            elif kind == glance.ERASED:
                erased.add(Position(**glance.document(record.value)["raw"]))
        return replies, generations, frozenset(erased)


def select(records: Iterable[Record], wanted: Filter, replies: Replies, generations: Generations | None = None) -> Iterator[Found]:
    """The wanted outcomes among records of mail.outcomes, in their order."""
    for record in records:
        if record.header("ce_type") != glance.OUTCOME or not wanted.may_want(record.value):
            continue
        document = glance.document(record.value)
        if generations and generations.superseded(document):
            continue
        found = Found(record, document, outcome_row(document, replies.state(document)))
        if wanted.wants(found):
            yield found
