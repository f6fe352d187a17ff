"""One look at a whole log for fsck: what is to be read is bounded first, then read piece by piece, side by side, and judged.

The ends of the topics are noted against the stream: outcomes, what waits for handlers, routes, authenticated, screened. Whatever led to
an outcome below the end of mail.outcomes stands below the ends that are noted after it. Between the bounds the order does not matter.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from postroom.crew import Crew, Tick, Worker, cores
from postroom.reading.cut import Cut
from postroom.reading.faults import Evidence, Fault, Mail, told, why
from postroom.reading.ledger import generation_of, offset_of
from postroom.reading.references import References
from postroom.reading.scan import Scan
from postroom.reading.spill import BITS, Bucket
from postroom.reading.tasks import Flush, Gather, Judge, Judged, Kind, Result, Scanned, Setup, Span, Task
from streams.log import Extent, Reader
from streams.record import TopicPartition
from topology.records import Topics

PIECE = 50_000
"""Offsets of a partition that are read in one go, so that nobody waits long for the last."""
FEW = 100_000
"""Records for which it is not worth while to start processes."""

Opener = Callable[[Setup], Worker[Task, Result]]
"""Makes what reads and judges, in a process of its own; it must pickle."""


class Verdict(NamedTuple):
    """sound: the fates of the mails without fault. faulty: the others, each with its fate. faults: what is wrong with them."""

    sound: Counter[str]
    faulty: dict[Mail, str]
    faults: list[Fault]


class Look:
    """See the module. only: the mails to look at, and then what was read of them is kept as evidence; None: all, and then of
    mail.authenticated only what still waits, for what is behind it tells the rest. references: gets to know what every record that is read
    refers to. opener: by which processes open the log, and processes: how many; without either it is read in this one.

    stray_count: how many records belong to no mail of this log; strays: the first of them, told as `tell` does. naming: fates of which
    some mails are to be named; named: those.
    """

    def __init__(
        self,
        log: Reader,
        topics: Topics,
        cut: Cut,
        tick: Tick | None = None,
        only: frozenset[Mail] | None = None,
        references: References | None = None,
        opener: Opener | None = None,
        processes: int | None = None,
        naming: frozenset[str] = frozenset(),
    ) -> None:
        self.stray_count = 0
        self.strays: list[dict[str, Any]] = []
        self.named: dict[Mail, str] = {}
        self._log = log
        self._topics = topics
        self._cut = cut
        self._only = only
        self._references = references
        self._there = log.topics()
        self._tick: Tick = tick or (lambda _count: None)
        self._evidence: dict[tuple[int, int], Evidence] = {}
        self._verdict = Verdict(Counter(), {}, [])
        horizon = self._taken_by_retention()
        self._routes_are_complete = True
        spans = list(self._spans())
        if processes is None:
            processes = cores() if sum(span.end - span.start for span in spans) > FEW else 1
        with tempfile.TemporaryDirectory(prefix="postroom-fsck-") as folder:
            ends = tuple(extent.end for extent in cut.raw)
            setup = Setup(topics, cut, ends, horizon, self._routes_are_complete, only, references is not None, Path(folder), naming)
            make: Callable[[], Worker[Task, Result]] = partial(opener, setup) if opener and processes > 1 else partial(Scan, setup, log)
            with Crew(processes if opener else 1, make) as crew:
                self._read(crew, spans)

    def judge(self) -> Verdict:
        """What became of every mail that was looked at."""
        return self._verdict

    def tell(self, fault: Fault) -> dict[str, Any]:
        """A fault as `fsck --json` gives it."""
        raw = {"topic": self._topics.raw, "partition": fault.partition, "offset": offset_of(fault.place)}
        evidence = self._evidence.get((fault.partition, fault.place), [])
        return told(fault.problem, why(fault.problem, fault.marks), raw, generation_of(fault.place), evidence)

    def of(self, mail: Mail, fate: str, words: str) -> dict[str, Any]:
        """What was read of a mail, told as a fault is; its records of all generations."""
        partition, offset = mail
        kept = [one for (number, place), evidence in self._evidence.items() if (number, offset_of(place)) == mail for one in evidence]
        return told(fate, words, {"topic": self._topics.raw, "partition": partition, "offset": offset}, 0, kept)

    def _read(self, crew: Crew[Task, Result], spans: list[Span]) -> None:
        for scanned in crew.spread(spans, self._tick):
            assert isinstance(scanned, Scanned)
            self.stray_count += scanned.stray_count
            self.strays += scanned.strays
            for at, evidence in scanned.evidence.items():
                self._evidence.setdefault(at, []).extend(evidence)
        self._put_in_order([span.topic for span in reversed(spans)])
        if len(crew) > 1:
            crew.each([Flush()] * len(crew))
        for judged in crew.spread(list(self._buckets())):
            assert isinstance(judged, Judged)
            self._verdict.sound.update(judged.sound)
            self._verdict.faulty.update(judged.faulty)
            self._verdict.faults.extend(judged.faults)
            self.named |= judged.named
        if self._references is not None:
            for gathered in crew.each([Gather()] * len(crew)):
                assert isinstance(gathered, References)
                self._references += gathered

    def _put_in_order(self, flow: list[str]) -> None:
        """Whoever read it: along the stream, and then by place. flow: the topics along the stream."""
        rank = {topic: place for place, topic in enumerate(flow)}
        for evidence in self._evidence.values():
            evidence.sort(key=lambda kept: (rank[kept[0].topic], kept[0].partition, kept[0].offset))
        self.strays.sort(key=lambda stray: [(one["topic"], one["partition"], one["offset"]) for one in stray["records"]])

    # -- what is to be read ---------------------------------------------------------------------------------------------------------

    def _spans(self) -> Iterator[Span]:
        topics, cut = self._topics, self._cut
        yield from self._whole("outcomes", topics.outcomes)
        for topic in cut.waiting_topics:
            yield from self._waiting("waiting", topic)
        for topic in cut.routed_topics:
            if any(extent.first for extent in self._log.extents(topic)):
                self._routes_are_complete = False
            yield from self._whole("routes", topic)
        yield from (self._waiting if self._only is None else self._whole)("authenticated", topics.authenticated)
        yield from self._whole("screened", topics.screened)
        for partition, extent in enumerate(cut.raw):
            yield from _pieces("raw", topics.raw, partition, extent)
        if self._references is not None:
            said = [topic for topic in self._there if topic.startswith(topics.said(""))]
            for topic in (topics.answers, topics.replies, *topics.reply_retries(), *said):
                yield from self._whole("messages", topic)

    def _whole(self, kind: Kind, topic: str) -> Iterator[Span]:
        for partition, extent in enumerate(self._extents(topic)):
            yield from _pieces(kind, topic, partition, extent)

    def _waiting(self, kind: Kind, topic: str) -> Iterator[Span]:
        """Only what its group had not reached."""
        for partition, extent in enumerate(self._extents(topic)):
            first = max(extent.first, self._cut.standing[TopicPartition(topic, partition)])
            yield from _pieces(kind, topic, partition, Extent(first, extent.end))

    def _extents(self, topic: str) -> list[Extent]:
        return self._log.extents(topic) if topic in self._there else []

    def _buckets(self) -> Iterator[Judge]:
        taken = [extent.first for extent in self._extents(self._topics.raw)]
        for partition, extent in enumerate(self._cut.raw):
            for number in range(extent.first >> BITS, (extent.end + (1 << BITS) - 1) >> BITS):
                first, end = max(extent.first, number << BITS), min(extent.end, (number + 1) << BITS)
                yield Judge(Bucket(partition, number), first, end, taken[partition])

    def _taken_by_retention(self) -> float:
        """The append time in ms up to which retention may have taken an outcome, or the bounce filter's word on a repeat."""
        horizon = -math.inf
        for topic in (self._topics.outcomes, self._topics.screened):
            for partition, extent in enumerate(self._extents(topic)):
                if extent.first:
                    oldest = next(iter(self._log.read(topic, partition)), None)
                    horizon = max(horizon, oldest.time if oldest else math.inf)
        return horizon


def _pieces(kind: Kind, topic: str, partition: int, extent: Extent) -> Iterator[Span]:
    for start in range(extent.first, extent.end, PIECE):
        yield Span(kind, topic, partition, start, min(start + PIECE, extent.end))
