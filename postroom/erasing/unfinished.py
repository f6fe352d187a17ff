"""Erases that did not come to their end: there is a tombstone, and something is left that the engine or the archive could let go."""

from collections.abc import Iterator
from typing import Any

from postroom.archive import ObjectArchive
from postroom.erasing.redact import is_redacted, kept_digest
from postroom.erasing.tombstone import tombstones
from postroom.reading import glance
from postroom.reading.faults import told
from postroom.reading.references import Digests
from streams.log import Log
from streams.record import Position, Record
from topology.records import Topics

_WHY = "it was erased, but not to the end: run `postroom erase --id … --apply` again"


def unfinished(log: Log, topics: Topics, archive: ObjectArchive, needed: Digests) -> Iterator[dict[str, Any]]:
    """The mails, each told once as fsck tells a fault. needed: what mails that are not erased have in the archive, sorted; a mail that came
    in again since may be among them. Reads mail.outcomes and mail.screened once. Memory: some 500 bytes a tombstone. Raises Transient,
    and Hold where the archive is away."""
    erased = {raw: (str(envelope["mail_id"]), kept_digest(envelope)) for raw, envelope in tombstones(log, topics)}
    told_of: set[str] = set()
    # Of all topics that an erase sweeps, mail.screened is the last.
    for record in log.read(topics.screened) if log.revisable and log.partitions(topics.screened) else ():
        raw = glance.raw_position(record.value)
        if raw in erased and not is_redacted(record.value) and raw is not None:
            told_of.add(erased[raw][0])
            yield _told(raw, erased[raw][0], [(record._replace(value=b"", headers=()), record.value)])
    if not archive.begun():
        return
    for raw, (mail, digest) in erased.items():
        if mail not in told_of and not needed.find(digest) and mail in archive.owners(f"sha256:{digest}"):
            told_of.add(mail)
            yield _told(raw, mail, [])


def _told(raw: Position, mail: str, evidence: list[tuple[Record, bytes]]) -> dict[str, Any]:
    where = {"topic": raw.topic, "partition": raw.partition, "offset": raw.offset}
    return told("unfinished", _WHY, where, 0, evidence) | {"mail_id": mail}
