"""Where a mail that is processed again enters the flow, and with which facts."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Literal

from postroom import batching
from postroom.replay.selection import Chosen
from topology.evidence import evidence_of
from topology.facts import Facts, Replay

Stage = Literal["bounce-filter", "authentication", "routing", "handler"]
STAGES: tuple[Stage, ...] = ("bounce-filter", "authentication", "routing", "handler")

_BEHIND: dict[Stage, tuple[str, ...]] = {
    # The screening stays: it says which recipients of the hand-over were no repeats.
    "bounce-filter": ("authentication", "route"),
    "authentication": ("authentication", "route"),
    "routing": ("route",),
    "handler": (),
}
"""The members that a stage and those behind it write anew."""

_BATCH, _BATCH_OCTETS = 300, 32 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How mails are to enter. start: the stage that is wanted. now: whether authentication asks afresh instead of judging by the
    recorded evidence. generation: 0 in a preview. handlers: those that there are."""

    start: Stage
    handlers: Container[str]
    now: bool = False
    generation: int = 0
    replies: bool = False
    redo: bool = False

    def stage(self, mail: Chosen) -> Stage:
        """Where the mail enters: at the stage that is wanted, but never behind the one that ended it, whose word would be passed over."""
        return STAGES[min(STAGES.index(self.start), *(STAGES.index(self._last(facts)) for facts in mail.facts))]

    def _last(self, facts: Facts) -> Stage:
        ended_by = facts.outcome.stage if facts.outcome else ""
        if facts.screening is None or ended_by == "bounce-filter":
            return "bounce-filter"
        if facts.authentication is None or ended_by == "authentication":
            return "authentication"
        if facts.route is None or facts.route.handler not in self.handlers:
            return "routing"
        return "handler"

    def facts(self, mail: Chosen, stage: Stage) -> list[Facts]:
        """The facts to enter with: one for the mail, or one a delivery where it goes to handlers."""
        chosen = mail.facts if stage == "handler" else [mail.latest]
        return [self._entering(facts, mail, stage) for facts in chosen]

    def _entering(self, facts: Facts, mail: Chosen, stage: Stage) -> Facts:
        asked_again = stage in ("bounce-filter", "authentication")
        evidence = evidence_of(facts) if asked_again and not self.now else None
        gone = dict.fromkeys((*_BEHIND[stage], "outcome", "reply", "repeated"))
        return facts.having(
            **gone, replay=Replay(self.generation, mail.recipients, self.replies, self.redo, evidence, asked_again and self.now)
        )


def batches(mails: Iterator[Chosen], most: int | None = None) -> Iterator[list[Chosen]]:
    """The mails some hundred at a time, fewer where they are large, each batch in the order in which its mails came in: the log gives
    them the faster. most: how many at the most."""
    for batch in batching.batches(mails, min(_BATCH, most or _BATCH), _BATCH_OCTETS, lambda mail: mail.latest.envelope.size):
        yield sorted(batch, key=attrgetter("raw"))


def first(mails: Iterator[Chosen], limit: int | None) -> Iterator[Chosen]:
    """The first of them; all where there is no limit."""
    return islice(mails, limit)
