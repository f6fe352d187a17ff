"""What is to be copied: the topics of a log in the order in which they refer to one another, and its groups."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from postroom.reading.pending import handlers
from postroom.site import Site
from streams.errors import Fatal
from streams.log import Extent, TopicSpec
from streams.record import TopicPartition
from topology.records import Topics

_KINDS = re.compile(
    r"raw|screened|authenticated|outcomes|failures|answers|replies|replays|replies\.retry\.\d+"
    r"|(?:routed|said)\.[a-z0-9][a-z0-9_-]*|retry\.[a-z0-9][a-z0-9_-]*\.\d+"
)


def is_ours(prefix: str) -> Callable[[str], bool]:
    """Whether a topic's name is one of a log with that prefix."""
    return lambda name: name.startswith(f"{prefix}.") and _KINDS.fullmatch(name, len(prefix) + 1) is not None


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic. source and target: its names. partitions: how many it is to have. extents: of the source's partitions."""

    source: str
    target: str
    partitions: int
    extents: Sequence[Extent]

    @property
    def same(self) -> bool:
        """Whether each record stays in the partition of its number."""
        return len(self.extents) == self.partitions

    @property
    def most(self) -> int:
        """Records at the most: Kafka's transactions take offsets too."""
        return sum(extent.end - extent.first for extent in self.extents)

    def worn(self) -> set[TopicPartition]:
        """The new partitions of which retention is to have taken the beginning, because it has here."""
        old = [number for number, extent in enumerate(self.extents) if extent.first]
        new = old if self.same or not old else range(self.partitions)
        return {TopicPartition(self.target, number) for number in new}


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """One group and the topics that it reads, by their names in the source."""

    source: str
    target: str
    topics: Sequence[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """topics: in the order in which they are copied: what others refer to comes first. groups: those of the source, of handlers that
    the settings no longer name too. specs: all topics that the new log is to have. left: topics under the prefix that are none of
    ours, and stay behind."""

    topics: Sequence[TopicPlan]
    groups: Sequence[GroupPlan]
    specs: Sequence[TopicSpec]
    left: Sequence[str]


def plan(source: Site, target: Site) -> Plan:
    """Looks at the source and at the target's settings. Raises Fatal where there is no log."""
    there = source.log.topics()
    old, new = source.topics, target.topics
    known = is_ours(old.prefix)
    if not any(map(known, there)):
        raise Fatal(f"{source.settings.log.url}: there is no topic {old.raw} or any other of that prefix; is [log] prefix right?")
    names = handlers(old, there)
    wanted = {spec.name: spec for spec in target.topic_specs()}
    topics = []
    for name, renamed in zip(_order(old, names), _order(new, names), strict=True):
        if name in there:
            spec = wanted.setdefault(renamed, replace(wanted[new.raw], name=renamed))
            topics.append(TopicPlan(name, renamed, spec.partitions, source.log.extents(name)))
    left = sorted(name for name in there if name.startswith(f"{old.prefix}.") and not known(name))
    groups = [
        GroupPlan(group, renamed, [topic for topic in read if topic in there])
        for (group, read), (renamed, _) in zip(_groups(old, names), _groups(new, names), strict=True)
    ]
    return Plan(topics, [group for group in groups if group.topics], list(wanted.values()), left)


def _order(topics: Topics, names: Sequence[str]) -> list[str]:
    """All topics: the mails, what waits for handlers, what was said and decided of them, what is written to senders."""
    found = [topics.raw, topics.screened, topics.authenticated]
    for name in names:
        found += [topics.routed(name), *topics.retries(name), topics.said(name)]
    return [
        *found,
        *(topics.outcomes, topics.failures, topics.answers, topics.replies),
        *topics.reply_retries(),
        topics.replays,
    ]


def _groups(topics: Topics, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    found = [
        (topics.group("bounce-filter"), [topics.raw]),
        (topics.group("authentication"), [topics.screened]),
        (topics.group("routing"), [topics.authenticated]),
        (topics.group("replyer"), [topics.failures, topics.answers]),
        (topics.group("postman"), [topics.replies, *topics.reply_retries()]),
    ]
    for name in names:
        found.append((topics.group(f"handler.{name}"), [topics.routed(name), *topics.retries(name)]))
        found.append((topics.group(f"settle.{name}"), [topics.said(name)]))
    return found
