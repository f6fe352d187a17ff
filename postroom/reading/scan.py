"""What one record after another tells of its mail, noted for fsck, and the notes of neighbouring mails brought together and judged.

This is what fsck's processes run (see `postroom.reading.look`, which says what is read, and in which order it was bounded).
"""

import re
from collections.abc import Callable
from itertools import islice

from postroom.crew import Tick
from postroom.reading import glance, notes
from postroom.reading.faults import Fault, told
from postroom.reading.ledger import (
    DELIVERED,
    ENDED,
    ERASED,
    FRESH,
    PRESENT,
    REPEATED,
    STUCK,
    WAITS,
    Ledger,
    generation_of,
    place_of,
)
from postroom.reading.references import References, archived
from postroom.reading.spill import Spill
from postroom.reading.tasks import MOST_NAMED, Flush, Judge, Judged, Kind, Result, Scanned, Setup, Span, Task
from streams.log import Reader
from streams.record import Record
from topology import ids
from topology.address import key as address_key

_TICK = 1000
_TOLD_STRAYS = 1000
_FEW_RECIPIENTS = re.compile(rb'"recipients":\[(?:"(?:[^"\\]|\\.)*")?\]')


class Scan:
    """Reads spans and judges buckets."""

    def __init__(self, setup: Setup, log: Reader, close: Callable[[], None] = lambda: None) -> None:
        self._close = close
        self._setup = setup
        self._log = log
        self._log_id = log.id.encode()
        self._raw_topic = setup.topics.raw.encode()
        self._ends = list(setup.ends)
        self._spill = Spill(setup.folder)
        self._references = References() if setup.references else None
        self._found = Scanned()
        self._readers: dict[Kind, Callable[[Record], None]] = {
            "outcomes": self._outcome,
            "waiting": self._waiting,
            "routes": self._route,
            "authenticated": self._authenticated,
            "screened": self._screened,
            "raw": self._raw,
            "messages": lambda _record: None,
        }

    def close(self) -> None:
        """See `Worker`."""
        self._close()

    def __call__(self, task: Task, tick: Tick) -> Result:
        """See `Worker`. Raises LogError, Newer."""
        if isinstance(task, Span):
            return self._scan(task, tick)
        if isinstance(task, Judge):
            return self._judge(task)
        if isinstance(task, Flush):
            self._spill.flush()
            return None
        return self._references

    def _scan(self, span: Span, tick: Tick) -> Scanned:
        self._found = Scanned()
        read, references = self._readers[span.kind], self._references
        count = 0
        # What carries the mail has the facts in a header.
        values = span.kind not in ("routes", "raw", "waiting", "messages")
        for record in self._log.read(span.topic, span.partition, start=span.start, end=span.end, values=values):
            if references is not None:
                references.hold(record)
            read(record)
            count += 1
            if count == _TICK:
                tick(count)
                count = 0
        tick(count)
        return self._found

    # -- what a record says -------------------------------------------------------------------------------------------------------

    def _outcome(self, record: Record) -> None:
        kind = record.header("ce_type")
        if kind not in (glance.OUTCOME, glance.ERASED):
            return
        data = record.value
        at = self._pass(record, data)
        if at is None:
            return
        partition, offset, place = at
        if kind == glance.ERASED:
            self._spill.note(partition, offset, (place_of(offset, 0), 0, ERASED | self._fresh(record)))
        elif known := glance.outcome_of(data):
            must = notes.ROUTE if known.whole or known.stage == "routing" else 0
            marks = (ENDED if known.whole else DELIVERED) | self._fresh(record)
            self._spill.note(partition, offset, (place, int(known.delivery_id[:16], 16), marks | notes.OUTCOME | must))

    def _waiting(self, record: Record) -> None:
        data = glance.facts_bytes(record) or b""
        at = self._pass(record, data)
        if at and (delivery_id := glance.routed_delivery(data)):
            self._spill.note(at[0], at[1], (at[2], int(delivery_id[:16], 16), self._as_waiting(record)))

    def _route(self, record: Record) -> None:
        data = glance.facts_bytes(record) or b""
        at = self._pass(record, data)
        if at and (delivery_id := glance.routed_delivery(data)):
            waits = self._as_waiting(record) if self._setup.cut.not_reached(record) else 0
            self._spill.note(at[0], at[1], (at[2], int(delivery_id[:16], 16), DELIVERED | self._fresh(record) | notes.ROUTE | waits))

    def _authenticated(self, record: Record) -> None:
        if at := self._pass(record, record.value):
            self._spill.note(at[0], at[1], (at[2], 0, self._fresh(record) | self._waits(record) | notes.ONCE_AUTHENTICATED))

    def _screened(self, record: Record) -> None:
        data = record.value
        at = self._pass(record, data)
        if at is None:
            return
        partition, offset, place = at
        repeated = _is_repeat(data)
        marks = self._fresh(record) | self._waits(record) | (REPEATED if repeated else 0)
        self._spill.note(partition, offset, (place, 0, marks | notes.ONCE_SCREENED))
        if not repeated and not generation_of(place):
            for delivery_id in _due(data):
                self._spill.note(partition, offset, (place, int(delivery_id[:16], 16), notes.DUE))

    def _raw(self, record: Record) -> None:
        partition, offset = record.partition, record.offset
        data = glance.facts_bytes(record) or b""
        generation = glance.generation(data)
        if self._setup.only is not None:
            if (partition, offset) not in self._setup.only:
                return
            self._keep(partition, place_of(offset, generation), record, data)
        place = place_of(offset, 0)
        self._spill.note(partition, offset, (place, 0, PRESENT | self._fresh(record) | self._waits(record)))
        if generation:
            self._spill.note(partition, offset, (place, generation, notes.BROUGHT))
        if self._references is not None and (digest := archived(data)):
            self._spill.note(partition, offset, (place, int(digest[2:18], 16), notes.NEED | int(digest[:2], 16) << notes.DIGEST_AT))

    def _pass(self, record: Record, data: bytes) -> tuple[int, int, int] | None:
        """Raw partition and offset, and the pass, that a record tells of; None where it is of no concern here, or a stray."""
        found = glance.RAW.search(data)
        if found and found[1] == self._log_id and found[2] == self._raw_topic:
            partition, offset = int(found[3]), int(found[4])
        else:
            position = glance.raw_position(data) if data else None
            if position is None:
                self._stray(record, data, "does not say where its mail stands")
                return None
            if position.log != self._log.id or position.topic != self._setup.topics.raw:
                self._stray(record, data, "is of a mail of another log")
                return None
            partition, offset = position.partition, position.offset
        extents = self._setup.cut.raw
        if not 0 <= partition < len(extents) or offset >= self._end(partition, offset):
            self._stray(record, data, "is of a mail that was never taken in")
            return None
        extent, only = extents[partition], self._setup.only
        if not extent.first <= offset < extent.end:
            return None  # retention has taken the mail, or it came in after the cut
        place = place_of(offset, glance.generation(data))
        if only is not None:
            if (partition, offset) not in only:
                return None
            self._keep(partition, place, record, data)
        return partition, offset, place

    def _stray(self, record: Record, data: bytes, what: str) -> None:
        self._found.stray_count += 1
        if self._found.stray_count <= _TOLD_STRAYS:
            self._found.strays.append(told("unknown", f"this record {what}", None, 0, [(record, data)]))

    def _keep(self, partition: int, place: int, record: Record, data: bytes) -> None:
        self._found.evidence.setdefault((partition, place), []).append((record._replace(value=b"", headers=()), data))

    def _end(self, partition: int, offset: int) -> int:
        """The end of a raw partition: as of now, where `offset` lies beyond what was known of it."""
        if offset >= self._ends[partition]:
            self._ends = [extent.end for extent in self._log.extents(self._setup.topics.raw)]
        return self._ends[partition]

    def _fresh(self, record: Record) -> int:
        return FRESH if record.time > self._setup.horizon else 0

    def _waits(self, record: Record) -> int:
        if not self._setup.cut.not_reached(record):
            return 0
        return WAITS | STUCK if record.at in self._setup.cut.stranded else WAITS

    def _as_waiting(self, record: Record) -> int:
        return notes.STRANDED if record.at in self._setup.cut.stranded else notes.WAITING

    # -- what becomes of the mails of a bucket --------------------------------------------------------------------------------------

    def _judge(self, task: Judge) -> Judged:
        ledger = Ledger(task.first, task.end)
        needs: list[tuple[int, int, int]] = []
        for heap in self._spill.take(task.bucket):
            notes.enter(ledger, heap, needs)
        if self._references is not None:
            for place, rest, word in needs:
                if not ledger.marks(place) & ERASED:
                    self._references.needed.add(f"{word >> notes.DIGEST_AT:02x}{rest:016x}")
        for offset in range(task.first, min(task.taken, task.end)):  # it was there when we began
            if ledger.marks(place_of(offset, 0)):
                ledger.mark(place_of(offset, 0), PRESENT)
        found = ledger.judge(routes_are_complete=self._setup.routes_are_complete, naming=self._setup.naming)
        partition = task.bucket.partition
        faults = [Fault(partition, place, problem, ledger.marks(place)) for place, problem in found.faults]
        named = {(partition, offset): fate for offset, fate in islice(found.named.items(), MOST_NAMED)}
        return Judged(found.sound, {(partition, offset): fate for offset, fate in found.faulty.items()}, faults, named)


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
