"""One look at a whole log for fsck: reads every topic once, against the stream, and notes what it sees in the ledgers."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from postroom.reading import glance
from postroom.reading.ledger import (
    AUTHENTICATED,
    DELIVERED,
    ENDED,
    FRESH,
    PRESENT,
    REPEATED,
    SCREENED,
    STUCK,
    WAITS,
    Entries,
    Ledger,
    generation_of,
    offset_of,
    place_of,
)
from postroom.reading.pending import handlers, sources, standing
from streams.log import Reader
from streams.record import Record, TopicPartition
from topology import ids
from topology.address import key as address_key
from topology.facts import rfc3339
from topology.records import Topics

Tick = Callable[[int], None]
"""Called every so often with the number of records that were read since."""

Mail = tuple[int, int]
"""A mail: raw partition and offset."""

_TICK = 1000
_TOLD_STRAYS = 1000
_FEW_RECIPIENTS = re.compile(rb'"recipients":\[(?:"(?:[^"\\]|\\.)*")?\]')


class Cut:
    """Where everything stood before anything was read: the ends of mail.raw, then the groups' positions.

    stranded: where nobody will come for what waits: topics of handlers that are not known, and partitions whose group stands
    before the first record that is kept, for its role stops there with a clear word."""

    def __init__(self, log: Reader, topics: Topics, known_handlers: Collection[str] | None) -> None:
        there = log.topics()
        self.raw = log.extents(topics.raw) if topics.raw in there else []
        self.sources = sources(topics, there)
        self.standing = {
            TopicPartition(source.topic, partition): offset
            for source in self.sources
            for partition, offset in enumerate(standing(log, source))
        }
        kept = {source.topic: log.extents(source.topic) for source in self.sources}
        self.stranded = {at for at, offset in self.standing.items() if offset < kept[at.topic][at.partition].first}
        for source in self.sources:
            name = source.stage.partition(":")[2]
            if name and known_handlers is not None and name not in known_handlers:
                self.stranded |= {TopicPartition(source.topic, partition) for partition in range(there[source.topic])}


class Fault(NamedTuple):
    """What is wrong with a pass of a mail."""

    partition: int
    place: int
    problem: str

    @property
    def mail(self) -> Mail:
        """The mail at fault."""
        return self.partition, offset_of(self.place)


class Verdict(NamedTuple):
    """sound: the fates of the mails without fault. faulty: the others, each with its fate. faults: what is wrong with them."""

    sound: Counter[str]
    faulty: dict[Mail, str]
    faults: list[Fault]


class Look:
    """See the module. only: the mails to look at; what was read of them is kept as evidence. None: all.

    stray_count: how many records belong to no mail of this log; strays: the first of them, told as `tell` does.
    """

    def __init__(self, log: Reader, topics: Topics, cut: Cut, tick: Tick | None = None, only: frozenset[Mail] | None = None) -> None:
        self.stray_count = 0
        self.strays: list[dict[str, Any]] = []
        self._log = log
        self._topics = topics
        self._cut = cut
        self._tick = tick
        self._only = only
        self._there = log.topics()
        self._ledgers = [Ledger(*extent) for extent in cut.raw]
        self._ends = [extent.end for extent in cut.raw]
        self._evidence: dict[tuple[int, int], list[tuple[Record, bytes]]] = {}
        self._horizon = self._taken_by_retention()
        self._routes_are_complete = True
        self._run()

    def judge(self) -> Verdict:
        """What became of every mail that was looked at."""
        verdict = Verdict(Counter(), {}, [])
        for partition, ledger in enumerate(self._ledgers):
            found = ledger.judge(routes_are_complete=self._routes_are_complete)
            verdict.sound.update(found.sound)
            verdict.faulty.update({(partition, offset): fate for offset, fate in found.faulty.items()})
            verdict.faults.extend(Fault(partition, place, problem) for place, problem in found.faults)
        return verdict

    def tell(self, fault: Fault) -> dict[str, Any]:
        """A fault in words, with the records that tell of it."""
        evidence = self._evidence.get((fault.partition, fault.place), [])
        raw = {"topic": self._topics.raw, "partition": fault.partition, "offset": offset_of(fault.place)}
        why = _why(fault.problem, self._ledgers[fault.partition].marks(fault.place))
        return _told(fault.problem, why, raw, generation_of(fault.place), evidence)

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._outcomes()
        routed = {self._topics.routed(name) for name in handlers(self._topics, self._there)}
        later = [source.topic for source in self._cut.sources if ":" in source.stage]
        for topic in later:
            if topic not in routed:
                self._retried(topic)
        for topic in sorted(routed):
            self._routed(topic)
        self._facts_of(self._topics.authenticated, AUTHENTICATED)
        self._facts_of(self._topics.screened, SCREENED)
        self._raw()

    def _outcomes(self) -> None:
        for record in self._read(self._topics.outcomes):
            if record.header("ce_type") != glance.OUTCOME:
                continue
            known = glance.outcome_of(record.value)
            at = self._pass(record, record.value) if known else None
            if known and at:
                delivery_id, stage, whole = known
                ledger, place = at
                ledger.outcomes.add(place, delivery_id)
                if whole or stage == "routing":
                    ledger.routes.add(place, delivery_id)
                ledger.mark(place, (ENDED if whole else DELIVERED) | self._fresh(record))

    def _retried(self, topic: str) -> None:
        """Deliveries that wait for a later try, or for their handler's word to be settled."""
        for partition in range(self._there[topic]):
            start = self._cut.standing[TopicPartition(topic, partition)]
            for record in self._read(topic, partition, start):
                data = glance.facts_bytes(record) or b""
                at = self._pass(record, data)
                if at and (delivery_id := glance.routed_delivery(data)):
                    self._waiting(record, at[0]).add(at[1], delivery_id)

    def _routed(self, topic: str) -> None:
        if any(extent.first for extent in self._log.extents(topic)):
            self._routes_are_complete = False
        for record in self._read(topic):
            data = glance.facts_bytes(record) or b""
            at = self._pass(record, data)
            if at and (delivery_id := glance.routed_delivery(data)):
                ledger, place = at
                ledger.routes.add(place, delivery_id)
                ledger.mark(place, DELIVERED | self._fresh(record))
                if self._not_reached(record):
                    self._waiting(record, ledger).add(place, delivery_id)

    def _facts_of(self, topic: str, bit: int) -> None:
        """mail.authenticated or mail.screened."""
        for record in self._read(topic):
            if at := self._pass(record, record.value):
                ledger, place = at
                ledger.once(place, bit, self._fresh(record) | self._waits(record))
                if bit == SCREENED and _is_repeat(record.value):
                    ledger.mark(place, REPEATED)
                elif bit == AUTHENTICATED and not generation_of(place):
                    for delivery_id in _due(record.value):
                        ledger.due.add(place, delivery_id)

    def _raw(self) -> None:
        for partition, ledger in enumerate(self._ledgers):
            for record in self._read(self._topics.raw, partition, ledger.first, ledger.end):
                data = glance.facts_bytes(record)
                generation = glance.generation(data) if data else 0
                if self._only is not None:
                    if (partition, record.offset) not in self._only:
                        continue
                    self._keep(partition, place_of(record.offset, generation), record, data or b"")
                if generation:
                    ledger.brought_by[record.offset] = generation
                ledger.mark(place_of(record.offset, 0), PRESENT | self._fresh(record) | self._waits(record))

    def _read(self, topic: str, partition: int | None = None, start: int | None = None, end: int | None = None) -> Iterator[Record]:
        if topic not in self._there:
            return
        count = 0
        for record in self._log.read(topic, partition, start=start, end=end):
            yield record
            count += 1
            if count == _TICK and self._tick:
                self._tick(count)
                count = 0
        if self._tick:
            self._tick(count)

    # -- what a record says -------------------------------------------------------------------------------------------------------

    def _pass(self, record: Record, data: bytes) -> tuple[Ledger, int] | None:
        """The ledger and the pass that a record tells of; None where it is of no concern, or a stray."""
        position = glance.raw_position(data) if data else None
        if position is None:
            self._stray(record, data, "says nothing of the mail's position")
            return None
        log, topic, partition, offset = position
        if log != self._log.id or topic != self._topics.raw or partition >= len(self._ledgers):
            self._stray(record, data, "is of a mail of another log")
            return None
        ledger = self._ledgers[partition]
        if offset >= ledger.end:
            if offset >= self._end(partition, offset):  # else it came in after the cut
                self._stray(record, data, "is of a mail that was never taken in")
            return None
        if offset < ledger.first or (self._only is not None and (partition, offset) not in self._only):
            return None
        place = place_of(offset, glance.generation(data))
        if self._only is not None:
            self._keep(partition, place, record, data)
        return ledger, place

    def _stray(self, record: Record, data: bytes, why: str) -> None:
        self.stray_count += 1
        if self._only is None and self.stray_count <= _TOLD_STRAYS:
            self.strays.append(_told("unknown", f"this record {why}", None, 0, [(record, data)]))

    def _keep(self, partition: int, place: int, record: Record, data: bytes) -> None:
        self._evidence.setdefault((partition, place), []).append((record._replace(value=b"", headers=()), data))

    def _end(self, partition: int, offset: int) -> int:
        """The end of a raw partition, as of now where `offset` lies beyond what is known of it."""
        if offset >= self._ends[partition]:
            self._ends = [extent.end for extent in self._log.extents(self._topics.raw)]
        return self._ends[partition]

    def _fresh(self, record: Record) -> int:
        return FRESH if record.time > self._horizon else 0

    def _not_reached(self, record: Record) -> bool:
        return not record.carried and record.offset >= self._cut.standing[record.at]

    def _waits(self, record: Record) -> int:
        if not self._not_reached(record):
            return 0
        return WAITS | STUCK if record.at in self._cut.stranded else WAITS

    def _waiting(self, record: Record, ledger: Ledger) -> Entries:
        return ledger.stranded if record.at in self._cut.stranded else ledger.waiting

    def _taken_by_retention(self) -> float:
        """The append time in ms up to which retention may have taken an outcome, or a word of the bounce filter on a repeat."""
        horizon = -math.inf
        for topic in (self._topics.outcomes, self._topics.screened):
            for partition, extent in enumerate(self._log.extents(topic) if topic in self._there else ()):
                if extent.first:
                    oldest = next(iter(self._log.read(topic, partition)), None)
                    horizon = max(horizon, oldest.time if oldest else math.inf)
        return horizon


def _is_repeat(data: bytes) -> bool:
    """Whether a screened record says that all of the mail's recipients were here before."""
    if b',"repeated":{' not in data:
        return False
    document = glance.document(data)
    return not document.get("outcome") and not (document.get("screening") or {}).get("recipients")


def _due(data: bytes) -> list[str]:
    """The deliveries that an authenticated mail's envelope demands, where there are several: from the envelope each recipient is one."""
    at = data.find(b'"recipients":[', data.find(b',"screening":{'))
    if _FEW_RECIPIENTS.match(data, at):
        return []
    document = glance.document(data)
    recipients = (document.get("screening") or {}).get("recipients") or ()
    readable = {compared for recipient in recipients if (compared := address_key(recipient))}
    return [ids.delivery_id(document["envelope"]["mail_id"], recipient) for recipient in sorted(readable)]


def _why(problem: str, marks: int) -> str:
    if problem == "unknown":
        return "an outcome of a delivery that nothing routed"
    if problem == "doubled":
        both = marks & ENDED and marks & DELIVERED
        return "an outcome of the whole mail beside one of its deliveries" if both else "a stage has written the same thing twice"
    if marks & DELIVERED:
        return "a delivery has neither an outcome nor a record that waits"
    if marks & AUTHENTICATED:
        return "authenticated, but neither routed nor ended"
    if marks & SCREENED:
        return "screened, but neither authenticated nor ended"
    return "the bounce filter has passed it, and wrote nothing"


def _told(problem: str, why: str, raw: dict[str, Any] | None, generation: int, evidence: list[tuple[Record, bytes]]) -> dict[str, Any]:
    """A fault as `fsck --json` gives it."""
    records = []
    mail_id = None
    for record, data in sorted(evidence, key=lambda kept: kept[0].time):
        try:
            document = glance.document(data)
        except ValueError:
            document = {}
        mail_id = mail_id or document.get("envelope", {}).get("mail_id")
        delivery = (document.get("outcome") or document.get("route") or {}).get("delivery_id")
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "time": rfc3339(record.time)}
        records.append(where | {"delivery_id": delivery})
    return {"problem": problem, "why": why, "mail_id": mail_id, "generation": generation, "raw": raw, "records": records}
