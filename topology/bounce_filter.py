"""The first stage: reads the hand-over, sets repeats aside, and lets nothing through that a robot wrote."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from streams.record import Position, Record
from streams.stage import Alive, nothing
from topology.ending import whole
from topology.facts import Facts, Repeated, Screening, cut, rfc3339
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.item import Decision, Item
from topology.records import FACTS, Topics, facts_in
from topology.repeats import Repeats
from topology.screening import Finding, Screen
from topology.step import MailGone, MailSource, Step


class BounceFilter(Step):
    """mail.raw -> mail.screened. Writes a screened record for every mail, also for those that it ends or that are repeats, so that
    the memory of repeats can be rebuilt and every raw record accounted for."""

    name = "bounce-filter"

    def __init__(
        self,
        topics: Topics,
        log_id: str,
        reader: HeadReader,
        mails: MailSource,
        screen: Screen,
        repeats: Repeats,
        clock: Callable[[], int],
        largest: int = sys.maxsize,
    ) -> None:
        """largest: octets above which a bare record counts as too large, because no later topic would take it with its facts."""
        self.source = topics.raw
        self.target = topics.screened
        self._log_id = log_id
        self._reader = reader
        self._mails = mails
        self._screen = screen
        self._repeats = repeats
        self._clock = clock
        self._largest = largest

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        self._repeats.assigned(partitions, alive)

    def revoked(self, partitions: frozenset[int]) -> None:
        self._repeats.revoked(partitions)

    def load(self, records: Sequence[Record]) -> list[Item]:
        """See Step. One that names no facts is foreign, and its envelope is read from the mail."""
        self._repeats.reached(records)
        known = [self._handed_over(record) for record in records]
        mails = self._mails.of_values(list(zip(records, known, strict=True)))
        return [Item(record, facts, mail, self._reader) for record, facts, mail in zip(records, known, mails, strict=False)]

    def facts_of(self, record: Record) -> Facts:
        """The facts of a raw record, with its position."""
        return self._handed_over(record).having(raw=self.position(record))

    def _handed_over(self, record: Record) -> Facts:
        """The facts that ingest wrote; the position joins them with the screening, so that the document grows once."""
        header = record.header(FACTS)
        return self.foreign(record) if header is None else facts_in(header)

    def foreign(self, record: Record) -> Facts:
        """The facts of a record that has none of ours that can be read."""
        envelope = foreign_envelope(record.value, record.time, self._reader)
        return Facts(replace(envelope, truncated=True) if envelope.size > self._largest else envelope)

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
            seen = self._repeats.meet(record, facts)
            if seen.first is not None:
                first = self.position(record)._replace(offset=seen.first)
                events = (facts.having(raw=self.position(record), repeated=Repeated(tuple(seen.repeats), first._asdict())),)
                if seen.nothing_new:
                    return Decision(events[0], events=events)
            recipients = tuple(seen.new)
        if item.mail is None:
            raise MailGone(facts.having(raw=self.position(record), screening=Screening(recipients=recipients)))
        decision = self._screened(item, recipients, prepared)
        decision.events = events
        return decision

    def _screened(self, item: Item, recipients: tuple[str, ...], at: str) -> Decision:
        head, envelope = item.head, item.facts.envelope
        finding = Finding("malformed", head.broken) if head.broken else self._screen(head, envelope)
        silence = None if finding else self._screen.silence(head, envelope)
        subject = cut(head.first("subject") or "") or None
        screening = Screening(finding and finding.rule, finding and finding.field, silence, recipients, subject)
        facts = item.facts.having(raw=self.position(item.record), screening=screening)
        if finding is None:
            return Decision(facts, onward=True)
        if head.broken:
            return whole(facts, "rejected", "malformed", stage=self.name, at=at, detail=f"header {head.broken}")
        return whole(facts, "dropped", finding.rule, stage=self.name, at=at, detail=finding.field)
