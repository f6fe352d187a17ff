"""Which mails are to be erased: those with a selected outcome, whole, with every record that took them in."""

from dataclasses import dataclass, field
from typing import Any

from postroom.reading import glance
from postroom.reading.outcomes import Outcomes
from postroom.reading.pending import pending, waiting, waiting_facts
from postroom.reading.references import mail_id
from postroom.reading.selectors import Filter
from streams.log import Reader
from streams.record import Position
from topology.records import Topics

_SLACK = 86_400_000
"""Milliseconds. Clocks go back and brokers' clocks differ; a record that were overlooked for that would stay."""


@dataclass(slots=True)
class Taken:
    """A record of mail.raw that took the mail in. envelope: its facts'. outcomes: see `Erased`, by delivery. oopses: the ids of reports
    that senders were told. erased: it has a tombstone."""

    envelope: dict[str, Any]
    oopses: set[str] = field(default_factory=set)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    erased: bool = False


@dataclass
class Choice:
    """mails: by mail id (hex, as bytes), the raw records that took each in. on_its_way: how many more were selected, of which something
    still waits for a stage. since: ms, the time before which no record of them was appended, or None. Memory: some 2 KB a mail."""

    mails: dict[bytes, dict[Position, Taken]] = field(default_factory=dict)
    on_its_way: int = 0
    since: int | None = None

    @property
    def taken(self) -> list[tuple[bytes, Position, Taken]]:
        """All raw records, in the order that is cheap for the log, each with its mail id."""
        every = ((mail, raw, taken) for mail, raws in self.mails.items() for raw, taken in raws.items())
        return sorted(every, key=lambda one: one[1])


def choose(log: Reader, topics: Topics, wanted: Filter) -> Choice:
    """The selected mails. One of which a delivery, in any generation, still waits for a stage is left out: what a worker has in hand
    would be written again. Raises Newer, Transient."""
    ids = {mail.encode() for found in Outcomes(log, topics).found(wanted, every=True) if (mail := found.row["mail_id"])}
    ids |= {mail.encode() for found in pending(log, topics, wanted) if (mail := found.row["mail_id"])}
    on_their_way = {mail_id(waiting_facts(log.id, record)) or b"" for _, record in waiting(log, topics)} & ids if ids else set()
    choice = Choice({mail: {} for mail in ids - on_their_way}, len(on_their_way))
    if choice.mails:
        _read_events(log, topics, choice)
        known = [raw for _, raw, _ in choice.taken]
        times = [record.time for record in log.fetch(known) if record]
        choice.since = min(times) - _SLACK if len(times) == len(known) else None
    return choice


def _read_events(log: Reader, topics: Topics, choice: Choice) -> None:
    for record in log.read(topics.outcomes):
        raws = choice.mails.get(record.key or b"")
        if raws is None:
            continue
        document = glance.document(record.value)
        if not document.get("raw"):
            continue
        taken = raws.setdefault(Position(**document["raw"]), Taken(document["envelope"]))
        kind = record.header("ce_type")
        if kind == glance.ERASED:
            taken.erased = True
        elif kind == glance.OUTCOME:
            _note(taken, document)


def _note(taken: Taken, document: dict[str, Any]) -> None:
    """Keeps what became of a delivery in its latest generation."""
    if oops_id := document["outcome"].get("oops_id"):
        taken.oopses.add(oops_id)
    outcome, generation = document["outcome"], (document.get("replay") or {}).get("generation", 0)
    before = taken.outcomes.get(outcome["delivery_id"])
    if before is None or before["generation"] <= generation:
        members = {name: outcome.get(name) for name in ("delivery_id", "recipient", "status", "reason")}
        taken.outcomes[outcome["delivery_id"]] = members | {"generation": generation}
