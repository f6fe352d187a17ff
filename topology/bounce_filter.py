"""The first stage: reads the hand-over, sets repeats aside, and lets nothing through that a robot wrote."""

from collections.abc import Callable, Sequence

from streams.record import Position, Record
from topology.ending import whole
from topology.facts import Facts, Repeated, Screening, cut, rfc3339
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.item import Decision, Item
from topology.records import FACTS, Topics, facts_of
from topology.repeats import Repeats
from topology.screening import Screen
from topology.step import MailGone, MailSource, Step


class BounceFilter(Step):
    """mail.raw -> mail.screened. Writes a screened record for every mail, also for those that it ends or that are repeats, so that
    the memory of repeats can be rebuilt and every raw record accounted for."""

    name = "bounce-filter"

    def __init__(
        self, topics: Topics, log_id: str, reader: HeadReader, mails: MailSource, screen: Screen, repeats: Repeats, clock: Callable[[], int]
    ) -> None:
        self.source = topics.raw
        self.target = topics.screened
        self._log_id = log_id
        self._reader = reader
        self._mails = mails
        self._screen = screen
        self._repeats = repeats
        self._clock = clock

    def assigned(self, partitions: frozenset[int]) -> None:
        self._repeats.assigned(partitions, self._clock())

    def revoked(self, partitions: frozenset[int]) -> None:
        self._repeats.revoked(partitions)

    def load(self, records: Sequence[Record]) -> list[Item]:
        """The mails of raw records; one that names no facts is foreign, and its envelope is read from the mail."""
        known = [self.facts_of(record) for record in records]
        mails = self._mails.of_values(list(zip(records, known, strict=True)))
        return [Item(record, facts, mail, self._reader) for record, facts, mail in zip(records, known, mails, strict=True)]

    def facts_of(self, record: Record) -> Facts:
        """The facts of a raw record, with its position."""
        facts = Facts(foreign_envelope(record.value, record.time, self._reader)) if record.header(FACTS) is None else facts_of(record)
        return facts.having(raw=self.position(record))

    def position(self, record: Record) -> Position:
        """A raw record is the mail."""
        return Position(self._log_id, record.topic, record.partition, record.offset)

    def prepare(self, items: Sequence[Item]) -> str:
        """When the batch is decided, RFC 3339."""
        return rfc3339(self._clock())

    def decide(self, item: Item, prepared: str) -> Decision:
        """Repeats first, then `malformed`, then the rules in their order."""
        facts, record = item.facts, item.record
        recipients = facts.envelope.recipients
        events: tuple[Facts, ...] = ()
        if record.key is not None:  # a bare record's repeats stand in any partition, so they are not recognised
            new, repeats, first = self._repeats.first(record.partition, record.offset, facts)
            if first is not None:
                assert facts.raw
                events = (facts.having(repeated=Repeated(tuple(repeats), facts.raw._replace(offset=first)._asdict())),)
                if not new:
                    return Decision(events[0], events=events)
            recipients = tuple(new)
            self._repeats.remember(record.partition, record.offset, record.time, facts, recipients)
        if item.mail is None:
            raise MailGone(facts.having(screening=Screening(recipients=recipients)))
        decision = self._screened(item, facts, recipients, prepared)
        decision.events = events
        return decision

    def _screened(self, item: Item, facts: Facts, recipients: tuple[str, ...], at: str) -> Decision:
        head, envelope = item.head, facts.envelope
        if head.broken:
            facts = facts.having(screening=Screening("malformed", head.broken, recipients=recipients))
            return whole(facts, "rejected", "malformed", stage=self.name, at=at, detail=f"header {head.broken}")
        finding = self._screen(head, envelope)
        subject = cut(head.first("subject") or "") or None
        if finding:
            facts = facts.having(screening=Screening(finding.rule, finding.field, recipients=recipients, subject=subject))
            return whole(facts, "dropped", finding.rule, stage=self.name, at=at, detail=finding.field)
        facts = facts.having(screening=Screening(silence=self._screen.silence(head, envelope), recipients=recipients, subject=subject))
        return Decision(facts, onward=True)
