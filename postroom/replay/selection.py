"""Which mails a replay is about: the selected outcomes up to a fixed bound, those of one mail together."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from operator import attrgetter

from postroom.erasing.redact import GONE
from postroom.reading import glance
from postroom.reading.outcomes import Generations, Replies, select
from postroom.reading.pending import sources, standing
from postroom.reading.rows import Found, Row
from postroom.reading.selectors import Filter
from streams.log import Reader
from streams.record import Position, Record
from topology.facts import Facts
from topology.records import Topics, recipient_key


@dataclass(slots=True)
class Chosen:
    """A mail to be processed again. rows: the selected outcomes, each with its facts; raw: where the mail stands."""

    raw: Position
    rows: list[Row]
    facts: list[Facts]

    @property
    def latest(self) -> Facts:
        """The facts of the latest of these outcomes."""
        return max(self.facts, key=lambda facts: facts.generation)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Whom a replay of these is for, as compared; () for everybody of the mail."""
        named: dict[str, None] = {}
        for row, facts in zip(self.rows, self.facts, strict=True):
            whom = (row["recipient"],) if row["recipient"] is not None else facts.replay.recipients if facts.replay else ()
            if not whom:
                return ()
            named.update(dict.fromkeys(whom))
        return tuple(named)


def place_of(raw: Position) -> int:
    """A raw position as one number."""
    return raw.partition << 48 | raw.offset


class Tally:
    """How many selected outcomes each mail has; two bytes for each mail of the log, however many are selected."""

    _BITS = 12

    def __init__(self) -> None:
        self._counts: dict[int, array[int]] = {}

    def add(self, raw: Position) -> bool:
        """One more of that mail. Whether it is the first."""
        place = place_of(raw)
        counts = self._counts.get(place >> self._BITS)
        if counts is None:
            counts = self._counts[place >> self._BITS] = array("H", bytes(2 << self._BITS))
        at = place & (1 << self._BITS) - 1
        counts[at] += 1
        return counts[at] == 1

    def of(self, raw: Position) -> int:
        """How many that mail has."""
        place = place_of(raw)
        return self._counts[place >> self._BITS][place & (1 << self._BITS) - 1]


class Selection:
    """The selected outcomes, in their latest generation. Reads mail.outcomes twice (once where everything is taken and no replay has been
    at it), and for `mails` once more.

    ends: the end of each partition of mail.outcomes, behind which nothing is selected; as of now when None, and then `ends` tells.
    every: also those that are handled, or whose next generation is still on its way (a preview). but: a generation that is not to be
    seen, and then what was decided behind the bounds counts too: a replay that goes on again takes up nothing that another has taken
    up since. partitions: only these of mail.outcomes; a mail's outcomes all stand in one. deliveries: how many outcomes there are;
    count: how many mails; left_out: why others of the selected are not among them, counted.

    Memory: see `Tally`, the outcomes of replays, and, where a selector asks for it, about 130 bytes a reply. Raises Newer, Transient.
    """

    def __init__(
        self,
        log: Reader,
        topics: Topics,
        wanted: Filter,
        ends: Sequence[int] | None = None,
        *,
        every: bool,
        redo: bool = False,
        but: int | None = None,
        partitions: Sequence[int] | None = None,
    ) -> None:
        self._log = log
        self._topics = topics
        self._wanted = wanted
        self._every = every
        self._takes_all = every and wanted.takes_all
        self._redo = redo
        self._replies, self._generations = Replies(), Generations()
        # First what is on its way, then the ends: what is no longer on its way by then has its outcome below them.
        self._on_their_way = {} if every else _on_their_way(log, topics, but)
        self.ends = tuple(_ends(log, topics) if ends is None else ends)
        self._partitions = range(len(self.ends)) if partitions is None else partitions
        self._erased: set[Position] = set()
        self._count(self._learn(but))
        if self._generations or not self._takes_all:
            self._count(self._places() if self._takes_all else map(_raw, self._eligible(count=True)))

    def mails(self) -> Iterator[Chosen]:
        """Each mail once, oldest outcome first; one with several selected outcomes where the last of them stands."""
        parts: dict[Position, list[Found]] = {}
        for found in self._eligible(count=False):
            raw = _raw(found)
            together = [found]
            if (several := self._tally.of(raw)) > 1:
                together = parts.setdefault(raw, [])
                together.append(found)
                if len(together) < several:
                    continue
                del parts[raw]
            yield Chosen(raw, [one.row for one in together], [self._facts(raw, one) for one in together])

    def _facts(self, raw: Position, found: Found) -> Facts:
        """Those of an outcome. Of a mail that was erased nobody gets the bytes, also where the log could not let go of them."""
        facts = glance.facts(found.document, found.record.value)
        return facts.having(envelope=replace(facts.envelope, archived=GONE)) if raw in self._erased else facts

    def _records(self, *, all_: bool = False) -> Iterator[Record]:
        """Those below the ends, oldest first; or all."""
        topic = self._topics.outcomes
        spans = [self._log.read(topic, number, end=None if all_ else self.ends[number]) for number in self._partitions]
        return merge(*spans, key=attrgetter("time")) if len(spans) > 1 else iter(*spans) if spans else iter(())

    def _count(self, places: Iterator[Position]) -> None:
        self.left_out: Counter[str] = Counter()
        self.deliveries = self.count = 0
        self._tally = Tally()
        for raw in places:
            self.deliveries += 1
            self.count += self._tally.add(raw)

    def _learn(self, but: int | None) -> Iterator[Position]:
        """Learns what replaces what; where everything is taken, also gives where the mails stand, which is all if nothing is replaced."""
        for record in self._records(all_=but is not None):
            kind = record.header("ce_type")
            if kind == glance.OUTCOME:
                if but is None or glance.generation(record.value) != but:
                    self._generations.learn(record.value)
                if self._takes_all and (raw := self._place(record)):
                    yield raw
            elif kind == glance.REPLY and self._wanted.knows_replies:
                self._replies.learn(record.value)
            elif kind == glance.ERASED and (raw := glance.raw_position(record.value)):
                self._erased.add(raw)

    def _places(self) -> Iterator[Position]:
        """Where the mails of all outcomes stand that nothing has replaced."""
        for record in self._records():
            if record.header("ce_type") == glance.OUTCOME:
                replayed = self._generations.superseded(glance.document(record.value))
                if not replayed and (raw := self._place(record)):
                    yield raw

    def _place(self, record: Record) -> Position | None:
        raw = glance.raw_position(record.value)
        if raw is None:
            self.left_out["without_position"] += 1
        return raw

    def _eligible(self, *, count: bool) -> Iterator[Found]:
        for found in select(self._records(), self._wanted, self._replies, self._generations):
            why = None if self._every else self._why_not(found)
            if why is None and found.document.get("raw") is None:
                why = "without_position"
            if why is None:
                yield found
            elif count:
                self.left_out[why] += 1

    def _why_not(self, found: Found) -> str | None:
        if found.row["status"] == "handled" and not self._redo:
            return "handled"
        waits = self._on_their_way.get(place_of(_raw(found))) if found.document.get("raw") else None
        if waits is None:
            return None
        recipient = found.row["recipient"]
        return "on_its_way" if not waits or recipient is None or recipient in waits else None


def _ends(log: Reader, topics: Topics) -> list[int]:
    return [extent.end for extent in log.extents(topics.outcomes)] if log.partitions(topics.outcomes) else []


def _on_their_way(log: Reader, topics: Topics, but: int | None) -> dict[int, frozenset[str]]:
    """What replays brought in and has no outcome yet: the recipients it is for (none: all), by the place of its mail."""
    found: dict[int, frozenset[str]] = {}
    for record in _waiting(log, topics):
        data = glance.facts_bytes(record)
        if data is None or glance.generation(data) in (0, but):
            continue
        facts = Facts.decode(data)
        if facts.raw and facts.replay:
            mine = frozenset({facts.route.recipient} if facts.route else map(recipient_key, facts.replay.recipients))
            before = found.get(place_of(facts.raw))
            found[place_of(facts.raw)] = mine if before is None else before | mine if before and mine else frozenset()
    return found


def _waiting(log: Reader, topics: Topics) -> Iterator[Record]:
    """Every record that waits. All positions of groups are noted first, so that what moves on meanwhile is seen here or there, or both."""
    there = sources(topics, log.topics())
    for source, starts in [(source, standing(log, source)) for source in there]:
        for partition, start in enumerate(starts):
            yield from (record for record in log.read(source.topic, partition, start=start) if not record.carried)


def _raw(found: Found) -> Position:
    return Position(**found.document["raw"])
