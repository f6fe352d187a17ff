"""The chain: bounce filter, authentication and routing on one batch, with one parse a mail and one transaction.

Every stage's topic is still written. A record whose next step was written in the same transaction is marked carried, so the
group of the next stage passes over it; what a replay, a foreign tool or a stage worker wrote is not marked, and is processed by
whoever owns the partition. So a worker runs one `Chain` for each group that it serves: the whole chain from mail.raw, and the
shorter ones from mail.screened and mail.authenticated. A stage on its own is a chain of one step.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from streams.record import Draft, Record
from streams.stage import Alive, Failure, Result, Stage, nothing
from topology.ending import whole
from topology.envelope import KEPT
from topology.facts import MAX_RECIPIENTS, Facts, rfc3339
from topology.head import HeadReader
from topology.item import Decision, Failing, Item
from topology.oopsing import Oopses
from topology.records import CAME, Topics, fact_draft, failure_draft, mail_draft, outcome_draft
from topology.step import FETCHED, MailGone, Step

log = logging.getLogger("postroom.chain")

SLICE = 100
"""Mails that are decided together: some 400 KB of them and as much again of what is known of them."""
WRITTEN = 16 * 1024 * 1024
"""Bytes that are written for one batch, but for those of its first mail."""
_FACTS = 4096
"""Bytes of a routed record beside the mail, at a guess."""


_Going = tuple[Item, list[Draft]]
"""A mail that is on its way through the steps, and what is to be written of it so far."""


class _Reached(NamedTuple):
    """step: the one that fails. item: the mail as it came there. drafts: what the steps before say."""

    step: Step
    item: Item
    drafts: list[Draft]


class Chain(Stage):
    """Some steps in a row as one stage of the runner; its group and name are those of the first. hands_on: the log's."""

    def __init__(self, steps: Sequence[Step], topics: Topics, oopses: Oopses, clock: Callable[[], int], *, hands_on: bool = False) -> None:
        self.name = steps[0].name
        self.source = steps[0].source
        self._steps = steps
        self._stretches = _stretches(steps)
        self._topics = topics
        self._oopses = oopses
        self._clock = clock
        self._hands_on = hands_on

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        self._steps[0].assigned(partitions, alive)

    def revoked(self, partitions: frozenset[int]) -> None:
        self._steps[0].revoked(partitions)

    def process(self, records: Sequence[Record]) -> list[Result]:
        """One list of drafts a record. What is asked of the world is asked for the whole batch at once; in between the mails are decided
        a slice at a time, because the thousands of mails of a batch do not fit into the processor's cache (a tenth of the time)."""
        going = [(item, list[Draft]()) for item in self._loaded(records)]
        outputs: list[Result] = [drafts for _, drafts in going]
        for steps in self._stretches:
            if not going:
                break
            prepared = steps[0].prepare([item for item, _ in going])
            onward: list[_Going] = []
            while going:  # what is done with goes at once, too
                onward += self._decided(steps, prepared, going[:SLICE])
                del going[:SLICE]
            going = onward
        return outputs

    def _loaded(self, records: Sequence[Record]) -> list[Item]:
        """The mails of the first records, as many as one commit takes and memory holds, one at least; the runner brings the others again.
        Routing writes a mail and its facts once for each recipient, so what is written may be a hundred times what was read, and must fit
        into the time of a transaction. Each part that is loaded is twice the last, so that not many are loaded in vain; none is begun
        once half of FETCHED is held, and takes all of FETCHED at most."""
        items: list[Item] = []
        written, held, part = 0, 0, SLICE
        while len(items) < len(records) and held < FETCHED // 2:
            for item in self._steps[0].load(records[len(items) : len(items) + part]):
                written += _written(item)
                if written > WRITTEN and items:
                    return items
                items.append(item)
                held += len(item.mail or b"")
            part *= 2
        return items

    def _decided(self, steps: Sequence[Step], prepared: Any, going: list[_Going]) -> list[_Going]:
        """Takes some mails through steps of which only the first asks anything, for which it is prepared. Gives those that go on."""
        last = self._steps[-1]
        for step in steps:
            if step is not steps[0]:
                prepared = step.prepare([item for item, _ in going])
            onward: list[_Going] = []
            for one in going:
                item, drafts = one
                try:
                    decision = step.decide(item, prepared)
                except MailGone as gone:
                    decision = whole(gone.facts, "failed", "mail-gone", stage=step.name, at=rfc3339(self._clock()), detail=str(gone))
                if not decision.onward:
                    self._tell(step, decision)
                self._write(drafts, step, item, decision)
                if decision.onward and step is not last:
                    item.facts = decision.facts
                    onward.append(one)
            going = onward
            if not going:
                break
        return going

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        """The outcome of a mail that a step raised on, with what the steps before it still say; of one that killed the process, with
        the facts of its record alone."""
        reached = self._reached(record, failure)
        reason = "crashed" if failure.kind == "crashed" else "stage-error"
        detail = failure.detail or (f"{type(failure.error).__name__}: {failure.error}" if failure.error else "")
        decision = whole(reached.item.facts, "failed", reason, stage=reached.step.name, at=rfc3339(self._clock()), detail=detail)
        self._tell(reached.step, decision, failure.error)
        self._write(reached.drafts, reached.step, reached.item, decision)
        return reached.drafts

    def _tell(self, step: Step, decision: Decision, error: BaseException | None = None) -> None:
        """What people are to see of a decision that is the last about a mail: all steps' warnings, a line each, and a report of each
        failure."""
        told = decision.routes[0] if decision.routes else decision.facts
        for code in told.warnings:
            log.warning("mail %s: %s", told.envelope.mail_id, code)
        for failing in decision.failures:
            outcome, mail_id = failing.facts.outcome, failing.facts.envelope.mail_id
            if outcome is None or outcome.oops_id is None:
                continue
            log.error("mail %s: %s, %s: %s", mail_id, outcome.reason, outcome.oops_id, outcome.detail, exc_info=error)
            self._oopses.record(
                outcome.oops_id, mail_id=mail_id, delivery_id=outcome.delivery_id, where=step.name, error=error, detail=outcome.detail or ""
            )

    def _reached(self, record: Record, failure: Failure) -> "_Reached":
        """How far the record comes before it fails."""
        step = self._steps[0]
        try:
            item = Item(record, step.facts_of(record), None, HeadReader())
        except Exception:  # noqa: BLE001 - whatever stands in the record, it must end as an outcome
            facts = step.foreign(record).having(raw=step.position(record))
            return _Reached(step, Item(record, facts, record.value, HeadReader()), [])
        drafts: list[Draft] = []
        if failure.kind == "crashed":
            return _Reached(step, item, drafts)
        try:
            (item,) = step.load([record])
            for step in self._steps:
                decision = step.decide(item, step.prepare([item]))
                self._write(drafts, step, item, decision)
                item.facts = decision.facts
        except Exception:  # noqa: BLE001 - it failed before and fails again, at the step that we look for
            return _Reached(step, item, drafts)
        return _Reached(step, item, [])  # it does not fail alone: nothing of what it says now may count beside the failure

    def _write(self, drafts: list[Draft], step: Step, item: Item, decision: Decision) -> None:
        """Adds what a decision becomes on the log."""
        topics, record, facts = self._topics, item.record, decision.facts
        first = step.name == "bounce-filter"
        if first or decision.onward:  # screened for every mail, also those that end: the memory of repeats, and fsck, read it
            kind, headers = ("screened", ((CAME, b"%d" % record.time),)) if first else ("authenticated", ())
            id_, at = _id(record, facts, kind), record.partition
            carried = not decision.onward or step is not self._steps[-1]
            drafts.append(
                fact_draft(topics, step.target, kind.encode(), id_, record.key, facts, partition=at, carried=carried, headers=headers)
            )
        for routed in decision.routes:
            route = routed.route
            assert route
            id_, value = f"{route.delivery_id}.{routed.generation}", self._value(item)
            drafts.append(
                mail_draft(topics, topics.routed(route.handler), b"routed", id_, route.recipient, routed, value, hands_on=self._hands_on)
            )
        if decision.outcomes or decision.events or decision.failures:
            drafts += [outcome_draft(topics, outcome) for outcome in decision.outcomes]
            key = facts.envelope.mail_id.encode()
            drafts += [
                fact_draft(topics, topics.outcomes, b"repeated", _id(record, facts, "repeated"), key, event) for event in decision.events
            ]
            drafts += [self._failure(item, failing) for failing in decision.failures]

    def _failure(self, item: Item, failing: Failing) -> Draft:
        outcome = failing.facts.outcome
        gone = outcome is not None and outcome.reason == "mail-gone"
        return failure_draft(self._topics, failing.facts, b"" if gone else self._value(item), failing.to)

    @staticmethod
    def _value(item: Item) -> bytes:
        """What a record that carries the mail holds: its bytes, or nothing where they live in the archive."""
        envelope = item.facts.envelope
        if envelope.archived is not None or item.mail is None:
            return b""
        return item.mail[:KEPT] if envelope.truncated else item.mail


def _stretches(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps in order, in stretches that begin with one that asks the world for something."""
    found: list[list[Step]] = [[]]
    for step in steps:
        if step.asks and found[-1]:
            found.append([])
        found[-1].append(step)
    return found


def _written(item: Item) -> int:
    """About how many bytes routing writes of a mail. Where no hand-over names its recipients its own fields do."""
    facts, value = item.facts, item.mail
    recipients = len(facts.screening.recipients if facts.screening else facts.envelope.recipients)
    if not recipients:
        recipients = sum(field.count("@") for name in ("to", "cc") for field in item.head.all(name))
    carried = len(value) if value and facts.envelope.archived is None else 0
    return (carried + _FACTS) * max(1, min(recipients, MAX_RECIPIENTS))


def _id(record: Record, facts: Facts, kind: str) -> str:
    """Of a record about the whole mail: where that one stands, the generation, and what it is."""
    return f"{record.partition}-{record.offset}.{facts.generation}.{kind}"
