"""The bounce filter's rules on a mail that a replay brings in. Its hand-over was no repeat then and is none now."""

from streams.stage import Alive, nothing
from topology.bounce_filter import BounceFilter
from topology.facts import Screening
from topology.item import Decision, Item
from topology.step import MailGone


class Rescreening(BounceFilter):
    """Takes raw records whose facts are those of an earlier processing, the screening of then included: it names the recipients that
    were no repeats. Remembers nothing."""

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        """A replay owns no partition."""

    def revoked(self, partitions: frozenset[int]) -> None:
        """Likewise."""

    def decide(self, item: Item, prepared: str) -> Decision:
        """`malformed`, then the rules in their order. Raises MailGone."""
        facts = item.facts
        recipients = facts.screening.recipients if facts.screening else facts.envelope.recipients
        if item.mail is None:
            raise MailGone(facts.having(screening=Screening(recipients=recipients)))
        item.facts = facts.having(raw=None, screening=None)
        return self._screened(item, recipients, prepared)
