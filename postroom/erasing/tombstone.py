"""Tombstones: what stays of a mail that was erased, beside its outcomes, so that accounting still adds up.

On mail.outcomes, keyed by the mail id, one for each of its raw records: the envelope (with the hash and the size of the mail), the
position, and a member `erased`, which says who erased it when and why, and what had become of it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson

from postroom.reading import glance
from streams.log import Reader
from streams.record import Draft, Position
from topology.facts import VERSION
from topology.records import Topics


@dataclass(frozen=True, slots=True)
class Erased:
    """at: RFC 3339. who: user and machine. why: in the user's words. outcomes: of each delivery of that hand-over, in its latest
    generation, what became of it: delivery_id, recipient, status, reason, generation."""

    at: str
    who: str
    why: str | None = None
    outcomes: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """The member of a tombstone's document."""
        member = document["erased"]
        return cls(member["at"], member["who"], member.get("why"), tuple(member.get("outcomes") or ()))

    def __str__(self) -> str:
        return f"erased at {self.at} by {self.who}" + (f": {self.why}" if self.why else "")


def tombstone(topics: Topics, envelope: dict[str, Any], raw: Position, erased: Erased) -> Draft:
    """The record. envelope: without content, see `redact`."""
    document = {"version": VERSION, "envelope": envelope, "raw": raw._asdict(), "erased": asdict(erased)}
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{raw.partition}-{raw.offset}.erased".encode()),
        ("ce_type", glance.ERASED),
        ("ce_source", topics.source),
        ("content-type", b"application/json"),
    )
    return Draft(topics.outcomes, envelope["mail_id"].encode(), orjson.dumps(document), headers)


def tombstones(log: Reader, topics: Topics) -> Iterator[tuple[Position, dict[str, Any]]]:
    """All there are: the position of the raw record, and the envelope."""
    for record in log.read(topics.outcomes) if log.partitions(topics.outcomes) else ():
        if record.header("ce_type") == glance.ERASED:
            document = glance.document(record.value)
            yield Position(**document["raw"]), document["envelope"]
