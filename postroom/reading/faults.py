"""A fault of the accounts, and how it is told: in words, and with the records that show it."""

from typing import Any, NamedTuple

from postroom.reading import glance
from postroom.reading.ledger import AUTHENTICATED, DELIVERED, ENDED, MISSING, PRESENT, REPEATED, SCREENED, offset_of
from streams.record import Record
from topology.facts import rfc3339

Mail = tuple[int, int]
"""A mail: raw partition and offset."""

Evidence = list[tuple[Record, bytes]]
"""Records with their facts; the records' own values are not kept."""


class Fault(NamedTuple):
    """What is wrong with a pass of a mail. problem: lost, doubled, or unknown. marks: what was seen of the pass."""

    partition: int
    place: int
    problem: str
    marks: int

    @property
    def mail(self) -> Mail:
        """The mail at fault."""
        return self.partition, offset_of(self.place)


def why(problem: str, marks: int) -> str:
    """What is wrong, in words. marks: what was seen of the pass."""
    if problem == "unknown":
        return "an outcome of a delivery that nothing routed"
    if problem == "doubled":
        both = marks & ENDED and marks & DELIVERED
        return "an outcome of the whole mail beside one of its deliveries" if both else "a stage has written the same thing twice"
    if marks & (ENDED | DELIVERED | REPEATED) and not marks & (MISSING | PRESENT):
        return "its record is gone, and no tombstone tells that it was erased"
    if marks & DELIVERED:
        return "a delivery has neither an outcome nor a record that waits"
    if marks & AUTHENTICATED:
        return "authenticated, but neither routed nor ended"
    if marks & SCREENED:
        return "screened, but neither authenticated nor ended"
    return "the bounce filter has passed it, and wrote nothing"


def told(problem: str, reason: str, raw: dict[str, Any] | None, generation: int, evidence: Evidence) -> dict[str, Any]:
    """A fault as `fsck --json` gives it, its records in the order of time."""
    records = []
    mail_id = None
    for record, data in sorted(evidence, key=lambda kept: kept[0].time):
        try:
            document = glance.document(data)
        except ValueError:
            document = {}
        mail_id = mail_id or document.get("envelope", {}).get("mail_id")
        delivery = (document.get("outcome") or document.get("route") or {}).get("delivery_id")
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "time": rfc3339(record.time)}
        records.append(where | {"delivery_id": delivery})
    return {"problem": problem, "why": reason, "mail_id": mail_id, "generation": generation, "raw": raw, "records": records}
