"""Copies a log that stands still into a new one, and checks it. See docs/moving.md for why it is done so."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter

from postroom.batching import batches
from postroom.copying.places import Places
from postroom.copying.plan import GroupPlan, Plan, TopicPlan, is_ours, plan
from postroom.copying.translation import Translation
from postroom.forgotten import refuse_forgotten
from postroom.reading.fsck import Accounts, fsck
from postroom.replay.marker import refuse_if_busy
from postroom.site import Site
from streams.copying import Target
from streams.errors import Fatal, TooLarge, Transient
from streams.log import Extent, Log, Reader
from streams.record import Draft, Record, TopicPartition

Tick = Callable[[int], None]
Bar = Callable[[str, int | None], AbstractContextManager[Tick]]
"""(what, total): a context that gives a Tick. total: None where nobody knows."""

_BATCH, _BATCH_OCTETS = 1000, 8 << 20
_COMPARED = ("ended", "on_its_way", "stuck", "repeated", "lost", "doubled", "unknown")
"""The counts of fsck that must be the same. Erased mails and those beyond retention are told apart by what the new log lost, and it lost
nothing yet."""


class Differs(Exception):
    """The copy is not what it should be; it was not put in its place."""


@dataclass
class Report:
    """What was copied. topics: (source, target, records, partitions before, partitions after). open: by target's group, the records that
    it has still to work on. left: topics under the prefix that are none of ours. contents: of the archive. accounts: what fsck says
    of the copy."""

    topics: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    open: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    contents: int = 0
    accounts: dict[str, int] = field(default_factory=dict)


def copy(
    source: Site, target: Site, filling: Target, still: Callable[[], None], bar: Bar, archive: Callable[[], int] = lambda: 0
) -> Report:
    """Copies the source's log into `filling`, which is to be the target's. still: raises where somebody works on the source, which is
    only read. archive: carries the archive over, before the log is in place; how many contents. Memory is bounded.
    Raises Occupied, Differs, LogError; then the target is not there, or marked as unfinished."""
    source.refuse_half_a_copy(source.log.topics())
    still()
    refuse_if_busy(source.log, source.topics)  # its bounds are offsets of the old log, so it could not go on in the new one
    found = plan(source, target)
    refuse_forgotten(source.log, [(group.source, group.topics) for group in found.groups], source.topics.outcomes)
    work = Copying(source, target, filling, found)
    report = Report(left=list(found.left))
    worn = {at for topic in found.topics for at in topic.worn() if topic.source != source.topics.replays}
    filling.prepare(found.specs, worn, is_ours(target.topics.prefix))
    try:
        with bar("copying", sum(topic.most for topic in found.topics)) as tick:
            for topic in found.topics:
                count = work.topic(topic, tick)
                report.topics.append((topic.source, topic.target, count, len(topic.extents), topic.partitions))
        filling.seal()
        report.open = work.stand()
        with bar("checking", 2 * sum(topic.most for topic in found.topics)) as tick:
            work.check(report, tick)
        report.contents = archive()
        still()
        filling.finish()
    finally:
        work.close()
    return report


class Copying:
    """One copy under way."""

    def __init__(self, source: Site, target: Site, filling: Target, found: Plan) -> None:
        self._source, self._target = source, target
        self._filling = filling
        self._plan = found
        self._plans = {topic.source: topic for topic in found.topics}
        self._places = Places()
        self._translation: Translation | None = None
        self._standing = {group.source: _standing(source.log, group) for group in found.groups}
        self._group_of = {topic: group for group in found.groups for topic in group.topics}
        self._opened: dict[TopicPartition, int | None] = {}
        self._open: dict[str, int] = {group.target: 0 for group in found.groups}
        self._refuse_waiting_on_faust()

    def topic(self, plan: TopicPlan, tick: Tick) -> int:
        """Copies a topic; how many records."""
        if plan.source == self._source.topics.replays:
            return self._replays(plan, tick)
        count = 0
        for batch in batches(_in_order(self._source.log, plan), _BATCH, _BATCH_OCTETS, lambda record: len(record.value)):
            self._write(plan, batch)
            count += len(batch)
            tick(len(batch))
        return count

    def _write(self, plan: TopicPlan, batch: list[Record]) -> None:
        drafts, opens = zip(*(self._draft(plan, record) for record in batch), strict=True)
        try:
            offsets = self._filling.write([(draft, record.time) for draft, record in zip(drafts, batch, strict=True)])
        except TooLarge as error:
            raise Fatal(
                f"{error}; raise [log.topics] max_message_bytes of the new log above its [archive] inline_limit of before"
            ) from error
        places = [(draft.partition or 0, offset) for draft, offset in zip(drafts, offsets, strict=True)]
        for is_open, (partition, offset) in zip(opens, places, strict=True):
            at = TopicPartition(plan.target, partition)
            if is_open and self._opened[at] is None:
                self._opened[at] = offset
        if self._is_referred_to(plan.source):
            self._places.note(plan.source, ((old.partition, old.offset, *new) for old, new in zip(batch, places, strict=True)))

    def _draft(self, plan: TopicPlan, record: Record) -> tuple[Draft, bool]:
        """The record translated, and whether its group has still to work on it. One that the group has passed, but that comes to stand
        behind one that it has not, is marked as carried: it is passed over there too."""
        draft = self._translating.draft(record)
        group = self._group_of.get(plan.source)
        if group is None or draft.carried:
            return draft, False
        at = TopicPartition(draft.topic, draft.partition or 0)
        if record.offset >= self._standing[group.source][record.at]:
            self._opened.setdefault(at, None)
            self._open[group.target] += 1
            return draft, True
        return draft._replace(carried=at in self._opened), False

    @property
    def _translating(self) -> Translation:
        if self._translation is None:
            old, new = (self._source.log.id, self._source.topics), (self._filling.id, self._target.topics)
            self._translation = Translation(old, new, self._plans, self._places, self._filling.hole)
        return self._translation

    def _is_referred_to(self, topic: str) -> bool:
        """Whether records of other topics name places in it."""
        topics = self._source.topics
        return topic in (topics.raw, topics.replies) or topic.startswith((topics.routed(""), f"{topics.prefix}.retry."))

    def _replays(self, plan: TopicPlan, tick: Tick) -> int:
        """The markers, each at its old offset, which is its generation's number. What has gone is filled up: no number comes again."""
        count = offset = 0
        for record in self._source.log.read(plan.source, 0):
            offset = self._filled(plan, offset, record.offset, record.time)
            (placed,) = self._filling.write([(self._translating.draft(record)._replace(partition=0), record.time)])
            if placed != record.offset:
                raise Differs(f"{plan.target}: the marker of replay {record.offset + 1} came to offset {placed}")
            offset, count = placed + 1, count + 1
        self._filled(plan, offset, plan.extents[0].end, 0)
        tick(count)
        return count

    def _filled(self, plan: TopicPlan, offset: int, end: int, time: int) -> int:
        """Fills a topic up to an offset with records that say nothing."""
        headers = (("ce_type", b"postroom.replay-expired"), ("content-type", b"application/json"))
        filler = Draft(plan.target, None, b'{"version":"1.0","generation":0}', headers, partition=0)
        while offset < end:
            offset += len(self._filling.write([(filler, time)] * min(_BATCH, end - offset)))
        return offset

    def stand(self) -> dict[str, int]:
        """Writes where the groups stand; how many records each has still to work on."""
        mine = {group.target: group for group in self._plan.groups}
        wanted = {name: list(topics) for name, topics in self._target.groups().items()}
        for group in self._plan.groups:
            names = [self._plans[topic].target for topic in group.topics]
            wanted[group.target] = list(dict.fromkeys([*wanted.get(group.target, ()), *names]))
        positions = {at: offset for at, offset in self._opened.items() if offset is not None}
        for name, topics in wanted.items():
            self._filling.stand(name, topics, {at: offset for at, offset in positions.items() if at.topic in topics})
        return {name: self._open[name] for name in mine}

    def check(self, report: Report, tick: Tick) -> None:
        """Compares counts, what fsck says, and whether the source stood still. Raises Differs, Transient, and Fatal where retention took
        meanwhile what a group had to read next."""
        log = self._filling.log
        for topic, (_, name, count, _, _) in zip(self._plan.topics, report.topics, strict=True):
            there = sum(1 for _ in log.read(name)) if topic.source == self._source.topics.replays else _count(log, name)
            if there < count:
                raise Differs(f"{name} has {there} records, and {count} were written")
        self._check_open(log)
        known = self._source.handler_names
        here = fsck(self._source.log, self._source.topics, known, tick=tick)
        copied = fsck(log, self._target.topics, known, tick=tick)
        if why := _difference(here, copied):
            raise Differs(f"fsck says otherwise of the copy: {why}")
        if any(_ends(self._source.log.extents(topic.source)) != _ends(topic.extents) for topic in self._plan.topics):
            raise Transient("the source moved while it was copied: stop every role and listener, import and pipe there, and copy again")
        for group in self._plan.groups:
            _standing(self._source.log, group)  # retention may have come by before we did
        report.accounts = copied.counts

    def _check_open(self, log: Log) -> None:
        """Each group finds before it what it had before it, and nothing else."""
        for group in self._plan.groups:
            standing = log.standings(group.target, [self._plans[topic].target for topic in group.topics])
            found = sum(not record.carried for at, place in standing.items() for record in log.read(*at, start=place.offset))
            if found != self._open[group.target]:
                raise Differs(f"{group.target} has {found} records before it, and {self._open[group.target]} were open")

    def close(self) -> None:
        """Gives the table of places back."""
        self._places.close()

    def _refuse_waiting_on_faust(self) -> None:
        """Faust knows no carried records, so what waits for it must keep its partitions."""
        for name, handler in self._source.settings.handlers.items():
            group = self._source.topics.group(f"handler.{name}")
            if handler.runtime != "faust" or group not in self._standing:
                continue
            waits = any(offset < self._plans[at.topic].extents[at.partition].end for at, offset in self._standing[group].items())
            if waits and not all(self._plans[at.topic].same for at in self._standing[group]):
                raise Fatal(
                    f"deliveries wait for the handler {name}, which runs on Faust, and the copy would have another number of partitions: "
                    f"`postroom run --drain handler:{name} settle:{name}` first, or keep [log.topics] partitions"
                )


def _standing(log: Reader, group: GroupPlan) -> dict[TopicPartition, int]:
    """Where a group stands in each partition of its topics; at the beginning where nothing says so. Raises Fatal where retention took
    what it had to read next: that must not be passed over in silence."""
    known = log.standings(group.source, group.topics)
    found = {}
    for topic in group.topics:
        for partition, extent in enumerate(log.extents(topic)):
            at = TopicPartition(topic, partition)
            found[at] = known[at].offset if at in known else extent.first
            if found[at] < extent.first:
                raise Fatal(
                    f"group {group.source} stands at {found[at]} in {topic}[{partition}], which begins at {extent.first}: retention took "
                    "what it had to read next; `postroom fsck` lists what is stuck, and the group must be moved on first"
                )
    return found


def _in_order(log: Reader, plan: TopicPlan) -> Iterator[Record]:
    """The records of a topic: partition by partition where these stay, else all by their time, so that no new partition goes back in
    time, and each key keeps its order."""
    numbers = range(len(plan.extents))
    reads = [log.read(plan.source, number, end=plan.extents[number].end) for number in numbers]
    if not plan.same:
        return merge(*reads, key=attrgetter("time"))
    return (record for read in reads for record in read)


def _count(log: Reader, topic: str) -> int:
    return sum(extent.end - extent.first for extent in log.extents(topic))


def _ends(extents: Sequence[Extent]) -> list[int]:
    return [extent.end for extent in extents]


def _difference(here: Accounts, copied: Accounts) -> str:
    """What differs, in words; "" for nothing."""
    return ", ".join(
        f"{name} {copied.counts[name]} instead of {here.counts[name]}" for name in _COMPARED if here.counts[name] != copied.counts[name]
    )
