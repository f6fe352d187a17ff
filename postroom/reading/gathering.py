"""Every record of a mail, without reading everything.

Outcomes are keyed by the mail id, so one partition of mail.outcomes has them all. They name the raw record; what the first stages
wrote of it stands in the same partition of their topics, no earlier than it. Deliveries stand in the partition of their recipient,
between the mail's arrival and their outcome. What has no outcome yet is among what waits.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from postroom.erasing.tombstone import Erased
from postroom.reading import glance
from postroom.reading.outcomes import Generations
from postroom.reading.pending import handlers, waiting, waiting_facts
from streams.log import Reader
from streams.record import Position, Record, murmur2_partition
from topology.records import Topics

SLACK = 30_000
"""Milliseconds by which append times of one transaction may differ: brokers' clocks, and the time that a transaction is open."""


@dataclass(slots=True)
class Entry:
    """A record of a mail with its facts, parsed."""

    record: Record
    facts: dict[str, Any]

    @property
    def kind(self) -> str:
        """The record's CloudEvents type without "postroom."; "foreign" for bare bytes."""
        return (self.record.header("ce_type") or b"foreign").decode("ascii", "replace").removeprefix("postroom.")


@dataclass(slots=True)
class Mail:
    """Everything that the log holds of a mail. entries: its records, in the order of time and of the stages. current: the facts of
    each delivery, or of the whole mail, in its latest generation; those that wait for something have no outcome in them.
    waits: the stage that each pending one of `current` waits for, by its place there. raw: its first raw record that the log still has
    and that was not erased. erased: its last tombstone."""

    mail_id: str
    entries: list[Entry] = field(default_factory=list)
    current: list[dict[str, Any]] = field(default_factory=list)
    waits: dict[int, str] = field(default_factory=dict)
    raw: Record | None = None
    erased: Erased | None = None

    @property
    def warnings(self) -> list[str]:
        """The warning codes of all stages, in order, each once."""
        members = [facts.get(name) or {} for facts in self.current for name in ("screening", "authentication", "route", "outcome")]
        return list(dict.fromkeys(code for member in members for code in member.get("warnings", ())))

    @property
    def envelope(self) -> Mapping[str, Any]:
        """The envelope of its first record; of the first raw one where there is one that was not erased."""
        of_raw = next((entry.facts for entry in self.entries if entry.record is self.raw), None)
        found: Mapping[str, Any] = (of_raw or (self.entries[0].facts if self.entries else self.current[0]))["envelope"]
        return found


def gather(log: Reader, topics: Topics, mail_id: str) -> Mail | None:
    """Every record of a mail. None where there is none. Raises Newer."""
    found = _Gathering(log, topics, mail_id)
    return found.mail() if found.entries else None


def keyed(log: Reader, topics: Topics, mail_id: str) -> Iterator[Record]:
    """The outcomes and other events of a mail."""
    partitions = log.partitions(topics.outcomes)
    if partitions:
        key = mail_id.encode()
        yield from (record for record in log.read(topics.outcomes, murmur2_partition(key, partitions)) if record.key == key)


class _Gathering:
    """Collects the records of one mail."""

    def __init__(self, log: Reader, topics: Topics, mail_id: str) -> None:
        self._log = log
        self._topics = topics
        self._mail_id = mail_id
        self._there = log.topics()
        self._mark = f'"mail_id":"{mail_id}"'.encode()
        self.entries: dict[tuple[str, int, int], Entry] = {}
        self._waiting: list[tuple[str, Entry]] = []
        self._events = [self._add(record, record.value) for record in keyed(log, topics, mail_id)]
        self._find_waiting()
        self._find_first_stages()
        self._find_deliveries()
        self._find_replies()

    def _add(self, record: Record, data: bytes) -> Entry:
        entry = Entry(record, glance.document(data))
        return self.entries.setdefault((record.topic, record.partition, record.offset), entry)

    def _look(self, records: Iterable[Record]) -> None:
        """Adds the mail's own among records."""
        for record in records:
            data = glance.facts_bytes(record)
            if data and self._mark in data:
                self._add(record, data)

    def _find_waiting(self) -> None:
        for stage, record in waiting(self._log, self._topics):
            data = waiting_facts(self._log.id, record)
            if self._mark in data:
                self._waiting.append((stage, self._add(record, data)))

    def _find_first_stages(self) -> None:
        """Raw, screened and authenticated: the partitions that outcomes and waiting records name, or all where there are none."""
        known = self._raws()
        since = min((record.time for record in self._log.fetch(known) if record), default=SLACK) - SLACK
        partitions = {position.partition for position in known} or set(range(self._there.get(self._topics.raw, 0)))
        for topic in (self._topics.screened, self._topics.authenticated):
            for partition in sorted(partitions) if topic in self._there else ():
                self._look(self._log.read(topic, partition, since=since))
        for record in self._log.fetch(self._raws()):
            if record:
                self._add(record, waiting_facts(self._log.id, record))

    def _raws(self) -> list[Position]:
        """The positions of the mail's raw records, as far as known."""
        return sorted({Position(**raw) for entry in self.entries.values() if (raw := entry.facts.get("raw"))})

    def _find_deliveries(self) -> None:
        """Routed records and retries, between the mail's arrival and the last outcome of that recipient; of a handler's word, too."""
        begin = min(entry.record.time for entry in self.entries.values()) - SLACK
        spans: dict[tuple[str, int], int] = {}
        for entry in list(self.entries.values()):
            route = entry.facts.get("route")
            if route:
                end = entry.record.time + SLACK
                for topic in self._topics_of(route["handler"]):
                    partition = murmur2_partition(route["recipient"].encode(), self._there[topic])
                    spans[topic, partition] = max(spans.get((topic, partition), 0), end)
        for (topic, partition), end in spans.items():
            self._look(self._log.read(topic, partition, since=begin, until=end))

    def _topics_of(self, handler: str) -> list[str]:
        topics = self._topics
        return [name for name in (topics.routed(handler), *topics.retries(handler), topics.said(handler)) if name in self._there]

    def _find_replies(self) -> None:
        """Failures stand beside their outcome; answers too; replies later, until the event that tells what became of them."""
        owing = [entry for entry in self._events if entry.kind == "outcome" and entry.facts["outcome"].get("reply_id")]
        if not owing:
            return
        times = [entry.record.time for entry in owing]
        told = [entry.record.time for entry in self._events if entry.kind == "reply"]
        until = max(told) + SLACK if len(told) >= len({entry.facts["outcome"]["reply_id"] for entry in owing}) else None
        spans = {topic: max(times) + SLACK for topic in (self._topics.failures, self._topics.answers)}
        later = [self._topics.replies, *self._topics.reply_retries()]
        for topic, end in (*spans.items(), *((topic, until) for topic in later)):
            if topic in self._there:
                self._look(self._log.read(topic, since=min(times) - SLACK, until=end))

    def mail(self) -> Mail:
        """What was found, in order."""
        order = [self._topics.raw, self._topics.screened, self._topics.authenticated]
        for name in handlers(self._topics, self._there):
            order += self._topics_of(name)
        order += [self._topics.outcomes, self._topics.failures, self._topics.answers, self._topics.replies, *self._topics.reply_retries()]
        rank = {topic: place for place, topic in enumerate(order)}
        entries = sorted(self.entries.values(), key=lambda e: (e.record.time, rank[e.record.topic], e.record.partition, e.record.offset))
        mail = Mail(self._mail_id, entries)
        erased = {Position(**entry.facts["raw"]): Erased.of(entry.facts) for entry in entries if entry.kind == "erased"}
        mail.erased = next(reversed(erased.values()), None)
        raws = (entry.record for entry in entries if entry.record.topic == self._topics.raw)
        mail.raw = next((raw for raw in raws if Position(self._log.id, raw.topic, raw.partition, raw.offset) not in erased), None)
        generations = Generations()
        outcomes = [entry for entry in entries if entry.kind == "outcome"]
        for entry in outcomes:
            generations.learn(entry.record.value)
        mail.current = [entry.facts for entry in outcomes if not generations.superseded(entry.facts)]
        ended = {(glance.generation(entry.record.value), entry.facts["outcome"]["delivery_id"]) for entry in outcomes}
        for stage, entry in self._waiting:
            replay, route = entry.facts.get("replay") or {}, entry.facts.get("route")
            if not route or (replay.get("generation", 0), route["delivery_id"]) not in ended:
                mail.waits[len(mail.current)] = stage
                mail.current.append(entry.facts)
        return mail
