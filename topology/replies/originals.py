"""Finding the original of a mail of ours: the raw record that its facts name, or the archive behind that."""

from collections.abc import Mapping, Sequence

from streams.record import Position, Record
from topology.facts import Facts
from topology.ports import Archive, Mails


def fetched(mails: Mails, positions: Sequence[Position]) -> dict[Position, Record]:
    """The records at these positions that are still there, with one call, in the order that is cheap for the log."""
    wanted = sorted(set(positions))
    return {position: record for position, record in zip(wanted, mails.fetch(wanted), strict=True) if record} if wanted else {}


def kept(facts: Facts, originals: Mapping[Position, Record], archive: Archive) -> bytes | None:
    """The bytes of the mail that the facts are about, or None when they are gone. Raises Hold when the archive is away."""
    if facts.envelope.archived:
        return archive.get(facts.envelope.archived)
    record = originals.get(facts.raw) if facts.raw else None
    return record.value if record else None
