"""What is still on its way: records that a stage's group has not passed, and that no transaction has carried on already."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from postroom.reading import glance
from postroom.reading.rows import Found, pending_row
from postroom.reading.selectors import Filter
from streams.log import Reader
from streams.record import Position, Record
from topology.facts import Facts
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.records import Topics

_READER = HeadReader()


class Source(NamedTuple):
    """A topic that a stage reads. stage: as `list --pending` names it; group: whose position tells what is still to be read."""

    stage: str
    topic: str
    group: str


def handlers(topics: Topics, existing: Iterable[str]) -> list[str]:
    """The names of all handlers that mail has ever been routed to, also of those that the settings no longer name."""
    prefix = topics.routed("")
    return sorted(name.removeprefix(prefix) for name in existing if name.startswith(prefix))


def sources(topics: Topics, existing: Iterable[str]) -> list[Source]:
    """The topics on a mail's way that exist, in its order."""
    there = set(existing)
    found = [
        Source("bounce-filter", topics.raw, topics.group("bounce-filter")),
        Source("authentication", topics.screened, topics.group("authentication")),
        Source("routing", topics.authenticated, topics.group("routing")),
    ]
    for name in handlers(topics, there):
        group = topics.group(f"handler.{name}")
        found += [Source(f"handler:{name}", topic, group) for topic in (topics.routed(name), *topics.retries(name))]
        found.append(Source(f"settle:{name}", topics.said(name), topics.group(f"settle.{name}")))
    return [source for source in found if source.topic in there]


def standing(log: Reader, source: Source) -> list[int]:
    """The offset at which the source's group stands in each partition; its beginning where the group has no position yet."""
    known = {at.partition: place.offset for at, place in log.standings(source.group, [source.topic]).items()}
    return [known.get(partition, extent.first) for partition, extent in enumerate(log.extents(source.topic))]


def waiting(log: Reader, topics: Topics) -> Iterator[tuple[str, Record]]:
    """Every record that waits, with the stage that it waits for, in the order of the stages and of each partition.

    The ends are noted before the groups' positions, so what moves on meanwhile is given once or not at all, and never twice."""
    there = sources(topics, log.topics())
    ends = [[extent.end for extent in log.extents(source.topic)] for source in there]
    starts = [standing(log, source) for source in there]
    for source, firsts, lasts in zip(there, starts, ends, strict=True):
        for partition, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
            if first < last:
                for record in log.read(source.topic, partition, start=first, end=last):
                    if not record.carried:
                        yield source.stage, record


def waiting_facts(log_id: str, record: Record) -> bytes:
    """The facts of a waiting record as bytes. Those of a raw record get its position, and those of a bare one are read from the
    mail, as the bounce filter will."""
    data = glance.facts_bytes(record)
    if data is not None and glance.raw_position(data):
        return data
    try:
        facts = Facts.decode(data or b"")
    except ValueError:
        facts = Facts(foreign_envelope(record.value, record.time, _READER))
    return facts.having(raw=Position(log_id, record.topic, record.partition, record.offset)).encode()


def pending(log: Reader, topics: Topics, wanted: Filter) -> Iterator[Found]:
    """The wanted rows of what waits (see `waiting`): status None, detail the stage."""
    for stage, record in waiting(log, topics):
        data = waiting_facts(log.id, record)
        if wanted.may_want(data):
            document = orjson.loads(data)
            found = Found(record, document, pending_row(document, stage))
            if wanted.wants(found):
                yield found
