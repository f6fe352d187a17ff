"""One look at a whole log for fsck: reads every topic once, against the stream, and notes what it sees in the ledgers."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from postroom.reading import glance
from postroom.reading.cut import Cut
from postroom.reading.faults import Evidence, Fault, Mail, told, why
from postroom.reading.ledger import (
    AUTHENTICATED,
    DELIVERED,
    ENDED,
    ERASED,
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
from postroom.reading.references import References
from streams.log import Reader
from streams.record import Record, TopicPartition
from topology import ids
from topology.address import key as address_key
from topology.records import Topics

Tick = Callable[[int], None]
"""Called every so often with the number of records that were read since."""

_TICK = 1000
_TOLD_STRAYS = 1000
_FEW_RECIPIENTS = re.compile(rb'"recipients":\[(?:"(?:[^"\\]|\\.)*")?\]')


class Verdict(NamedTuple):
    """sound: the fates of the mails without fault. faulty: the others, each with its fate. faults: what is wrong with them."""

    sound: Counter[str]
    faulty: dict[Mail, str]
    faults: list[Fault]


class Look:
    """See the module. only: the mails to look at, and then what was read of them is kept as evidence; None: all, and then of
    mail.authenticated only what still waits, for what is behind it tells the rest. references: gets to see every record that is read.

    stray_count: how many records belong to no mail of this log; strays: the first of them, told as `tell` does.
    """

    def __init__(
        self,
        log: Reader,
        topics: Topics,
        cut: Cut,
        tick: Tick | None = None,
        only: frozenset[Mail] | None = None,
        references: References | None = None,
    ) -> None:
        self.stray_count = 0
        self.strays: list[dict[str, Any]] = []
        self._log = log
        self._log_id = log.id.encode()
        self._topics = topics
        self._raw_topic = topics.raw.encode()
        self._cut = cut
        self._tick = tick
        self._only = only
        self._references = references
        self._there = log.topics()
        self._ledgers = [Ledger(*extent) for extent in cut.raw]
        self._ends = [extent.end for extent in cut.raw]
        self._evidence: dict[tuple[int, int], Evidence] = {}
        self._horizon = self._taken_by_retention()
        self._routes_are_complete = True
        self._outcomes()
        for topic in cut.waiting_topics:
            self._waiting_deliveries(topic)
        for topic in cut.routed_topics:
            self._routes(topic)
        self._authenticated()
        self._screened()
        self._raw()
        if references is not None:  # what only refers to messages of ours
            said = [topic for topic in self._there if topic.startswith(topics.said(""))]
            for topic in (topics.answers, topics.replies, *topics.reply_retries(), *said):
                for _ in self._read(topic):
                    pass

    def judge(self) -> Verdict:
        """What became of every mail that was looked at. To be called once."""
        verdict = Verdict(Counter(), {}, [])
        for partition, ledger in enumerate(self._ledgers):
            found = ledger.judge(routes_are_complete=self._routes_are_complete)
            verdict.sound.update(found.sound)
            verdict.faulty.update({(partition, offset): fate for offset, fate in found.faulty.items()})
            verdict.faults.extend(Fault(partition, place, problem) for place, problem in found.faults)
        return verdict

    def tell(self, fault: Fault) -> dict[str, Any]:
        """A fault as `fsck --json` gives it."""
        raw = {"topic": self._topics.raw, "partition": fault.partition, "offset": offset_of(fault.place)}
        reason = why(fault.problem, self._ledgers[fault.partition].marks(fault.place))
        evidence = self._evidence.get((fault.partition, fault.place), [])
        return told(fault.problem, reason, raw, generation_of(fault.place), evidence)

    # -- topic by topic -----------------------------------------------------------------------------------------------------------

    def _outcomes(self) -> None:
        for record in self._read(self._topics.outcomes):
            kind = record.header("ce_type")
            if kind not in (glance.OUTCOME, glance.ERASED):
                continue
            at = self._pass(record, record.value)
            if at and kind == glance.ERASED:
                at[0].mark(place_of(offset_of(at[1]), 0), ERASED | self._fresh(record))
                continue
            if at and (known := glance.outcome_of(record.value)):
                ledger, place = at
                ledger.outcomes.add(place, known.delivery_id)
                if known.whole or known.stage == "routing":
                    ledger.routes.add(place, known.delivery_id)
                ledger.mark(place, (ENDED if known.whole else DELIVERED) | self._fresh(record))

    def _waiting_deliveries(self, topic: str) -> None:
        for partition in range(self._there[topic]):
            for record in self._read(topic, partition, self._cut.standing[TopicPartition(topic, partition)]):
                data = glance.facts_bytes(record) or b""
                at = self._pass(record, data)
                if at and (delivery_id := glance.routed_delivery(data)):
                    self._entries_of_waiting(record, at[0]).add(at[1], delivery_id)

    def _routes(self, topic: str) -> None:
        if any(extent.first for extent in self._log.extents(topic)):
            self._routes_are_complete = False
        for record in self._read(topic):
            data = glance.facts_bytes(record) or b""
            at = self._pass(record, data)
            if at and (delivery_id := glance.routed_delivery(data)):
                ledger, place = at
                ledger.routes.add(place, delivery_id)
                ledger.mark(place, DELIVERED | self._fresh(record))
                if self._cut.not_reached(record):
                    self._entries_of_waiting(record, ledger).add(place, delivery_id)

    def _authenticated(self) -> None:
        topic = self._topics.authenticated
        for partition in range(self._there.get(topic, 0)):
            start = self._cut.standing[TopicPartition(topic, partition)] if self._only is None else None
            for record in self._read(topic, partition, start):
                if at := self._pass(record, record.value):
                    at[0].once(at[1], AUTHENTICATED, self._fresh(record) | self._waits(record))

    def _screened(self) -> None:
        for record in self._read(self._topics.screened):
            data = record.value
            if at := self._pass(record, data):
                ledger, place = at
                ledger.once(place, SCREENED, self._fresh(record) | self._waits(record))
                if _is_repeat(data):
                    ledger.mark(place, REPEATED)
                elif not generation_of(place):
                    for delivery_id in _due(data):
                        ledger.due.add(place, delivery_id)

    def _raw(self) -> None:
        for partition, ledger in enumerate(self._ledgers):
            for record in self._read(self._topics.raw, partition, ledger.first, ledger.end):
                offset = record.offset
                data = glance.facts_bytes(record) or b""
                generation = glance.generation(data)
                if self._only is not None:
                    if (partition, offset) not in self._only:
                        continue
                    self._keep(partition, place_of(offset, generation), record, data)
                if generation:
                    ledger.brought_by[offset] = generation
                place = place_of(offset, 0)
                ledger.mark(place, PRESENT | self._fresh(record) | self._waits(record))
                if self._references is not None and not ledger.marks(place) & ERASED:
                    self._references.need(data)
        if self._topics.raw in self._there:
            self._taken_meanwhile()

    def _taken_meanwhile(self) -> None:
        """What retention has taken since we began was there when we began."""
        for ledger, extent in zip(self._ledgers, self._log.extents(self._topics.raw), strict=True):
            for offset in range(ledger.first, min(extent.first, ledger.end)):
                if ledger.marks(place_of(offset, 0)):
                    ledger.mark(place_of(offset, 0), PRESENT)

    def _read(self, topic: str, partition: int | None = None, start: int | None = None, end: int | None = None) -> Iterator[Record]:
        """A topic's records, with the progress told; none where it does not exist."""
        if topic not in self._there:
            return
        count = 0
        for record in self._log.read(topic, partition, start=start, end=end):
            if self._references is not None:
                self._references.hold(record)
            yield record
            count += 1
            if count == _TICK and self._tick:
                self._tick(count)
                count = 0
        if self._tick:
            self._tick(count)

    # -- what a record says -------------------------------------------------------------------------------------------------------

    def _pass(self, record: Record, data: bytes) -> tuple[Ledger, int] | None:
        """The ledger and the pass that a record tells of; None where it is of no concern here, or a stray."""
        found = glance.RAW.search(data)
        if found and found[1] == self._log_id and found[2] == self._raw_topic:
            partition, offset = int(found[3]), int(found[4])
        else:
            position = glance.raw_position(data) if data else None
            if position is None:
                self._stray(record, data, "does not say where its mail stands")
                return None
            if position.log != self._log.id or position.topic != self._topics.raw:
                self._stray(record, data, "is of a mail of another log")
                return None
            partition, offset = position.partition, position.offset
        if not 0 <= partition < len(self._ledgers) or offset >= self._end(partition, offset):
            self._stray(record, data, "is of a mail that was never taken in")
            return None
        ledger = self._ledgers[partition]
        if not ledger.first <= offset < ledger.end:
            return None  # retention has taken the mail, or it came in after the cut
        if self._only is not None and (partition, offset) not in self._only:
            return None
        place = place_of(offset, glance.generation(data))
        if self._only is not None:
            self._keep(partition, place, record, data)
        return ledger, place

    def _stray(self, record: Record, data: bytes, what: str) -> None:
        self.stray_count += 1
        if self.stray_count <= _TOLD_STRAYS:
            self.strays.append(told("unknown", f"this record {what}", None, 0, [(record, data)]))

    def _keep(self, partition: int, place: int, record: Record, data: bytes) -> None:
        self._evidence.setdefault((partition, place), []).append((record._replace(value=b"", headers=()), data))

    def _end(self, partition: int, offset: int) -> int:
        """The end of a raw partition: as of now, where `offset` lies beyond what was known of it."""
        if offset >= self._ends[partition]:
            self._ends = [extent.end for extent in self._log.extents(self._topics.raw)]
        return self._ends[partition]

    def _fresh(self, record: Record) -> int:
        return FRESH if record.time > self._horizon else 0

    def _waits(self, record: Record) -> int:
        if not self._cut.not_reached(record):
            return 0
        return WAITS | STUCK if record.at in self._cut.stranded else WAITS

    def _entries_of_waiting(self, record: Record, ledger: Ledger) -> Entries:
        return ledger.stranded if record.at in self._cut.stranded else ledger.waiting

    def _taken_by_retention(self) -> float:
        """The append time in ms up to which retention may have taken an outcome, or the bounce filter's word on a repeat."""
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
    """The deliveries that a mail's envelope demands, where there are several: from the envelope each recipient is one."""
    at = data.find(b'"recipients":[', data.find(b',"screening":{'))
    if _FEW_RECIPIENTS.match(data, at):
        return []
    document = glance.document(data)
    recipients = (document.get("screening") or {}).get("recipients") or ()
    readable = {compared for recipient in recipients if (compared := address_key(recipient))}
    return [ids.delivery_id(document["envelope"]["mail_id"], recipient) for recipient in sorted(readable)]
