"""A mail in the hands of the chain: the record it came by, its facts so far, its bytes, and its head, each read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.record import Record
from topology.facts import Facts
from topology.head import Head, HeadReader


class Item:
    """One mail on its way through one batch. record: what the batch brought. mail: the bytes as received, None when they are gone.
    head: read at its first use and kept for the stages behind."""

    __slots__ = ("_head", "_reader", "facts", "mail", "record")

    def __init__(self, record: Record, facts: Facts, mail: bytes | None, reader: HeadReader) -> None:
        self.record = record
        self.facts = facts
        self.mail = mail
        self._reader = reader
        self._head: Head | None = None

    @property
    def head(self) -> Head:
        """The head of the mail; an empty one when the mail is gone."""
        if self._head is None:
            self._head = self._reader.read(self.mail or b"")
        return self._head


class Failing(NamedTuple):
    """What goes to mail.failures: the facts with their outcome, and the address to be written to (None: nobody)."""

    facts: Facts
    to: str | None


@dataclass(slots=True)
class Decision:
    """What a step decided of one mail. onward: the facts that go on to the next step; routes: one a delivery; outcomes, events,
    failures: what is to be written beside. facts: as they are now, whatever becomes of the mail."""

    facts: Facts
    onward: bool = False
    routes: Sequence[Facts] = ()
    outcomes: Sequence[Facts] = ()
    events: Sequence[Facts] = ()
    failures: Sequence[Failing] = ()
