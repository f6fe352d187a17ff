"""The preview: what would become of recorded mails. Nothing is written, and of handlers only their own `preview` is called."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from handlers.word import Said
from handlers.word import Word as HandlerWord
from postroom.replay.entry import STAGES, Plan, batches
from postroom.replay.selection import Chosen
from postroom.replay.trying import Trying
from streams.faults import Hold, Newer
from streams.record import Record
from topology.ending import whole
from topology.facts import Facts
from topology.head import HeadReader
from topology.item import Decision, Item
from topology.step import MailSource, Step

EXAMPLES = 3
"""Mails that each line of the table names."""


class Word(NamedTuple):
    """What becomes of a delivery. status: None where a handler would be given it; reason is then "retry" where its preview asks for time,
    and None where it has no preview and is not called."""

    status: str | None
    reason: str | None
    handler: str | None

    def __str__(self) -> str:
        if self.status is None:
            return f"handler:{self.handler}, {self.reason or 'handler not called'}"
        return ", ".join(filter(None, (self.status, self.reason)))


class Change(NamedTuple):
    """before: what became of it. by_handler: the handler has said so itself. after: what would, by its preview where it has one."""

    before: Word
    by_handler: bool
    after: Word

    @property
    def differs(self) -> bool:
        """Whether it would not be as it was. What a handler would say is not known before it is asked: where it took the mail, or
        refused it, giving it the same mail is no difference; where it failed, another try is one."""
        before, after = self.before, self.after
        if after.status is None:
            return not (self.by_handler and before.status != "failed" and before.handler == after.handler)
        return (before.status, before.reason) != (after.status, after.reason)


class Example(NamedTuple):
    """A mail that shows a change. decided_at: when what became of it before was decided."""

    decided_at: str
    mail_id: str


@dataclass
class Preview:
    """What a preview found. mails: how many were run; gone: how many could not be, because the log or the archive no longer has
    them; changes: how many deliveries had each; examples: the oldest of each."""

    mails: int = 0
    gone: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    examples: dict[Change, list[Example]] = field(default_factory=dict)

    @property
    def differences(self) -> int:
        """How many deliveries would not be as they were."""
        return sum(count for change, count in self.changes.items() if change.differs)

    def note(self, change: Change, example: Example) -> None:
        """Counts one delivery."""
        self.changes[change] += 1
        examples = self.examples.setdefault(change, [])
        if len(examples) < EXAMPLES or example < examples[-1]:
            self.examples[change] = _oldest([*examples, example])

    def __iadd__(self, other: "Preview") -> Self:
        """Takes in what was found of other mails."""
        self.mails += other.mails
        self.gone += other.gone
        self.changes += other.changes
        for change, examples in other.examples.items():
            self.examples[change] = _oldest([*self.examples.get(change, []), *examples])
        return self

    def rows(self) -> Iterator[dict[str, Any]]:
        """The table, differences first, and of these the most frequent first."""
        for change, count in sorted(self.changes.items(), key=lambda item: (not item[0].differs, -item[1], str(item[0]))):
            before, after = change.before._asdict(), change.after._asdict()
            examples = [example.mail_id for example in self.examples[change]]
            yield {"differs": change.differs, "count": count, "before": before, "after": after, "examples": examples}


def _oldest(examples: Sequence[Example]) -> list[Example]:
    """Some of them, each mail once."""
    return list({example.mail_id: example for example in sorted(examples, reverse=True)}.values())[: -EXAMPLES - 1 : -1]


class End(NamedTuple):
    """What becomes of a delivery, or of the whole mail (recipient None)."""

    recipient: str | None
    word: Word


class Judge:
    """Runs the stages on recorded mails. steps: bounce filter, authentication and routing; reader: theirs; source: brings the mails;
    trying: asks handlers for their previews."""

    def __init__(self, steps: Sequence[Step], reader: HeadReader, source: MailSource, plan: Plan, trying: Trying) -> None:
        self._trying = trying
        self._steps = steps
        self._reader = reader
        self._source = source
        self._plan = plan

    def preview(self, mails: Iterator[Chosen], tick: Callable[[int], None] = lambda _count: None) -> Preview:
        """What would become of these. tick: told how many more are done. Raises Hold where a part is away, Newer."""
        found = Preview()
        for batch in batches(mails):
            for mail, after in zip(batch, self._run(batch), strict=True):
                if after is None:
                    found.gone += 1
                    continue
                found.mails += 1
                for example, change in _changes(mail, after):
                    found.note(change, example)
            tick(len(batch))
        return found

    def _run(self, batch: Sequence[Chosen]) -> list[list[End] | None]:
        """What becomes of each mail; None for one that is gone."""
        raws = self._source.of_facts([mail.latest for mail in batch])
        reached: list[list[Facts]] = [[] for _ in batch]
        going: dict[int, Item] = {}
        starts: dict[int, int] = {}
        for place, (mail, raw) in enumerate(zip(batch, raws, strict=True)):
            stage = self._plan.stage(mail)
            entering = self._plan.facts(mail, stage)
            if raw is not None and stage == "handler":
                reached[place] = entering
            elif raw is not None:
                record = Record(mail.raw.topic, mail.raw.partition, mail.raw.offset, 0, None, b"")
                going[place] = Item(record, entering[0], raw, self._reader)
                starts[place] = STAGES.index(stage)
        for number, step in enumerate(self._steps):
            mine = [place for place in going if starts[place] <= number]
            for place, decision in zip(mine, _decided(step, [going[place] for place in mine]), strict=True):
                reached[place] += (*decision.routes, *decision.outcomes)
                going[place].facts = decision.facts
                if not decision.onward:
                    del going[place]
        return self._ends(reached, raws)

    def _ends(self, reached: Sequence[list[Facts]], raws: Sequence[bytes | None]) -> list[list[End] | None]:
        """The words on what the mails have come to: an outcome, or a handler, which is asked where it has a preview."""
        routed = [(facts, raw) for those, raw in zip(reached, raws, strict=True) if raw is not None for facts in those if not facts.outcome]
        words = iter(self._trying.words(routed))
        return [
            None
            if raw is None
            else [End(_recipient(facts), _word(facts) if facts.outcome else _of_handler(facts, next(words))) for facts in those]
            for those, raw in zip(reached, raws, strict=True)
        ]


def _decided(step: Step, items: Sequence[Item]) -> list[Decision]:
    """What a step says of each. One on which it raises would end as a failure, as the runner has it."""
    if not items:
        return []
    try:
        prepared = step.prepare(items)
        return [step.decide(item, prepared) for item in items]
    except (Hold, Newer):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the mail's
        if len(items) > 1:
            return [decision for item in items for decision in _decided(step, [item])]
        detail = f"{type(error).__name__}: {error}"
        facts = items[0].facts
        return [whole(facts, "failed", "stage-error", stage=step.name, at=facts.envelope.received_at, detail=detail)]


def _changes(mail: Chosen, after: Sequence[End]) -> Iterator[tuple[Example, Change]]:
    """What changes for each of the mail's deliveries. Where it ended whole, before or after, that stands for each of them."""
    for row, facts in zip(mail.rows, mail.facts, strict=True):
        before = Word(row["status"], row["reason"], row["handler"])
        by_handler = facts.outcome is not None and facts.outcome.stage.startswith("handler:")
        for recipient, word in after:
            if row["recipient"] is None or recipient in (None, row["recipient"]):
                yield Example(str(row["decided_at"]), facts.envelope.mail_id), Change(before, by_handler, word)


def _recipient(facts: Facts) -> str | None:
    if facts.outcome:
        return facts.outcome.recipient
    return facts.route.recipient if facts.route else None


def _word(facts: Facts) -> Word:
    assert facts.outcome
    return Word(facts.outcome.status, facts.outcome.reason, facts.outcome.handler)


def _of_handler(facts: Facts, word: HandlerWord | None) -> Word:
    """What a handler says by its preview; it asks for time, or is not called."""
    handler = facts.route.handler if facts.route else None
    if isinstance(word, Said):
        return Word(word.status, word.reason, handler)
    return Word(None, None if word is None else "retry", handler)
