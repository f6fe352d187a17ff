"""A cheap stage as the chain runs it: load, prepare (I/O for the whole batch at once), decide (pure, one mail), and nothing written.

What a decision becomes on the log is written in one place, `topology.chain`.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from streams.record import Position, Record
from streams.stage import Alive, nothing
from topology.facts import Facts
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.item import Decision, Item
from topology.ports import Archive, Mails
from topology.records import facts_of

FETCHED = 32 * 1024 * 1024
"""Bytes of mails that are fetched for a batch, but for those of its first one. What records carry is in memory anyway."""


class MailGone(Exception):
    """The mail behind the facts is erased or expired: the delivery is `failed`, `mail-gone`."""

    def __init__(self, facts: Facts) -> None:
        super().__init__("the mail is gone: its record has expired or was erased")
        self.facts = facts


class Step(ABC):
    """One cheap stage. source and target are full topic names (routing's targets are its handlers' topics; its target is "")."""

    name: str
    source: str
    target: str
    asks = False
    """Whether `prepare` asks somebody, so that it should be for many mails at once."""

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:  # noqa: B027 - only the bounce filter remembers anything
        """See `streams.stage.Stage.assigned`."""

    def revoked(self, partitions: frozenset[int]) -> None:  # noqa: B027 - likewise
        """See `streams.stage.Stage.revoked`."""

    @abstractmethod
    def load(self, records: Sequence[Record]) -> list[Item]:
        """The mails behind the first of these records of the source topic: all, or as many as memory is to hold, and one at least.
        Raises Hold, Newer, ValueError."""

    @abstractmethod
    def facts_of(self, record: Record) -> Facts:
        """The facts of one record of the source topic, without looking at the mail."""

    def foreign(self, record: Record) -> Facts:
        """The facts of a record that has none of ours that can be read, for the outcome that it gets all the same."""
        return Facts(foreign_envelope(record.value, record.time, HeadReader()))

    def position(self, record: Record) -> Position | None:
        """Where the mail of a record stands, when that is told by where the record stands."""
        return None

    @abstractmethod
    def prepare(self, items: Sequence[Item]) -> Any:
        """All look-ups of the batch at once, within a deadline. Raises Hold when a whole part is away."""

    @abstractmethod
    def decide(self, item: Item, prepared: Any) -> Decision:
        """What becomes of the mail. Pure: the receive time is its clock, and `prepared` all it knows of the world. Raises MailGone,
        or anything else for a mail that it cannot judge."""


class MailSource:
    """Brings the bytes of mails: out of the record in hand, from mail.raw by position, or out of the archive; one look-up a batch."""

    def __init__(self, mails: Mails, archive: Archive) -> None:
        self._mails = mails
        self._archive = archive

    def of_values(self, pairs: Sequence[tuple[Record, Facts]]) -> list[bytes | None]:
        """The mails of the first of these records, which carry them (empty where they are archived)."""
        if all(facts.envelope.archived is None for _, facts in pairs):
            return [record.value for record, _ in pairs]
        first = pairs[: _few(0 if facts.envelope.archived is None else facts.envelope.size for _, facts in pairs)]
        return [record.value if facts.envelope.archived is None else self._archive.get(facts.envelope.archived) for record, facts in first]

    def of_first(self, batch: Sequence[Facts]) -> list[bytes | None]:
        """As `of_facts`, of the first of these."""
        return self.of_facts(batch[: _few(facts.envelope.size for facts in batch)])

    def of_facts(self, batch: Sequence[Facts]) -> list[bytes | None]:
        """The mails behind facts, by the position of their raw record; None where it has gone."""
        positions: list[Position] = [facts.raw for facts in batch if facts.raw and facts.envelope.archived is None]
        fetched = iter(self._mails.fetch(positions) if positions else [])
        return [self._one(facts, fetched) for facts in batch]

    def _one(self, facts: Facts, fetched: Any) -> bytes | None:
        if facts.envelope.archived is not None:
            return self._archive.get(facts.envelope.archived)
        record = next(fetched) if facts.raw else None
        return record.value if record else None


def _few(sizes: Iterable[int]) -> int:
    """How many of the first mails, of these sizes in bytes, memory is to hold; one at least."""
    return max(1, bisect_right(list(accumulate(sizes)), FETCHED))


class LaterStep(Step):
    """A step whose input is facts: on its own it fetches the mails by their raw positions, forward beside its input."""

    def __init__(self, reader: HeadReader, mails: MailSource) -> None:
        self._reader = reader
        self._mails = mails

    def load(self, records: Sequence[Record]) -> list[Item]:
        batch = [facts_of(record) for record in records]
        mails = self._mails.of_first(batch)
        return [Item(record, facts, mail, self._reader) for record, facts, mail in zip(records, batch, mails, strict=False)]

    def facts_of(self, record: Record) -> Facts:
        return facts_of(record)
