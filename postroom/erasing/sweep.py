"""Every record of the chosen mails but those of mail.raw, topic by topic: what there is, and on an engine that allows it, without content.

mail.outcomes comes late, because a mail is found by its outcomes: whoever goes on after an interruption finds the same ones again. And
mail.screened is the last, so that `fsck` sees by it alone whether an erase came to its end: every mail has a record there.
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from postroom.erasing.redact import is_redacted, redacted
from postroom.reading import glance
from postroom.reading.pending import handlers
from postroom.reading.references import mail_id
from streams.log import Log, Reader, Revision
from streams.record import Headers, Position, Record
from topology.records import FACTS, Topics
from topology.replies.stow import ARCHIVED, owner_of

_STEP, _STEP_OCTETS = 200, 8 << 20

Release = Callable[[str, str], object]
"""(reference, owner): has the archive let go of a message of ours."""


class Span(NamedTuple):
    """A topic on which records of mails stand. carries: its values are the mail, or a message of ours about it; else they are facts.
    group: who reads it, where what is not read yet must stay as it is."""

    topic: str
    carries: bool
    group: str | None = None


@dataclass
class Found:
    """What there is of the chosen mails on a topic. content: records that have something to be taken out; octets: of their values;
    objects: of the archive that they refer to as messages of ours; waiting: records that stay as they are, for somebody has still to
    read them; facts: records with ids, addresses and times that stay. newest: the latest append time, in ms, of all these."""

    content: int = 0
    octets: int = 0
    objects: int = 0
    waiting: int = 0
    facts: int = 0
    newest: int = 0

    def note(self, record: Record) -> None:
        """A record that stays, with its facts."""
        self.facts += 1
        self.newest = max(self.newest, record.time)


def spans(topics: Topics, log: Reader) -> list[Span]:
    """The topics that exist, but for mail.raw."""
    there = log.topics()
    found = [Span(topics.authenticated, False)]
    for name in handlers(topics, there):
        found += [Span(topic, True) for topic in (topics.routed(name), *topics.retries(name), topics.said(name))]
    found += [Span(topics.failures, True, topics.group("replyer")), Span(topics.answers, True, topics.group("replyer"))]
    found += [Span(topic, True, topics.group("postman")) for topic in (topics.replies, *topics.reply_retries())]
    found += [Span(topics.outcomes, False), Span(topics.screened, False)]
    return [span for span in found if span.topic in there]


def sweep(
    log: Log, span: Span, mails: Container[bytes | None], since: int | None, release: Release | None, tick: Callable[[int], None]
) -> Found:
    """What a topic has of these mails, told before it is changed. release: None only looks. Each step is durable before the next, and what
    is done already is passed over. Raises LogError, and Hold where the archive is away."""
    found = Found()
    passed = log.standings(span.group, [span.topic]) if span.group else None
    changes: dict[Position, Revision | None] = {}
    octets = 0
    for record in _of(log, span, mails, since, tick):
        found.note(record)
        facts = glance.facts_bytes(record) or b""
        if is_redacted(facts):
            continue
        if passed is not None and (record.at not in passed or record.offset >= passed[record.at].offset):
            found.waiting += 1
            continue
        found.content += 1
        found.octets += len(record.value) if span.carries else 0
        reference = record.header(ARCHIVED)
        found.objects += reference is not None
        if release is None:
            continue
        if reference:
            release(reference.decode("ascii", "replace"), owner_of(record.headers))
        if log.revisable:
            position = Position(log.id, record.topic, record.partition, record.offset)
            changes[position] = revised = _revision(span, record, facts)
            octets += len(record.value) + len(revised.value)
            if len(changes) == _STEP or octets >= _STEP_OCTETS:
                log.revise(changes)
                changes, octets = {}, 0
    if changes:
        log.revise(changes)
    return found


def _of(log: Log, span: Span, mails: Container[bytes | None], since: int | None, tick: Callable[[int], None]) -> Iterator[Record]:
    for count, record in enumerate(log.read(span.topic, since=since), start=1):
        if mail_id(glance.facts_bytes(record)) in mails:
            yield record
        if not count % 1000:
            tick(1000)


def _revision(span: Span, record: Record, facts: bytes) -> Revision:
    if record.header(FACTS) is None:
        return Revision(redacted(facts), record.headers)
    headers: Headers = tuple((name, redacted(value) if name == FACTS else value) for name, value in record.headers if name != ARCHIVED)
    return Revision(b"" if span.carries else record.value, headers)
