"""The archive held against the log: what is missing there, and what nothing refers to.

The log is read first and the archive after it, so what came in meanwhile is in the archive already; and what lies in the archive and
was put within the last day may belong to a mail that is just coming in, so it is no orphan yet.
"""

from collections.abc import Iterator
from typing import Any

from postroom.archive import ObjectArchive, Stored
from postroom.crew import Tick
from postroom.reading import glance
from postroom.reading.faults import told
from postroom.reading.references import References, archived, mail_id
from streams.faults import Hold
from streams.log import Reader
from topology.records import Topics

GRACE_MS = 86_400_000
"""A day. From putting a mail into the archive to appending its record it takes some milliseconds, or the mail server comes again."""
MOST_TOLD = 1000


class Holdings:
    """What became of holding them against each other. counts: `objects` and `octets` that the archive has; `missing`: how many that
    mails need are not there; `orphans` and `orphan_octets`: those that no record refers to, older than a day; `removed`: how many of
    these were taken away. records: what is missing, each told as fsck tells a fault. Memory: 9 bytes a reference, and nothing for
    what the archive has."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("objects", "octets", "missing", "orphans", "orphan_octets", "removed"), 0)
        self.records: list[dict[str, Any]] = []


def hold_against(
    archive: ObjectArchive,
    references: References,
    log: Reader,
    topics: Topics,
    now_ms: int,
    *,
    remove: bool = False,
    tick: Tick | None = None,
) -> Holdings | None:
    """Looks through the archive. references: as `fsck` has noted them. remove: take orphans away. None where there is no archive and
    none is needed. Raises Hold where it is away and needed, or something is to be removed."""
    for digests in (references.held, references.needed):
        digests.sort()
    try:
        if not len(references.held) and not archive.begun():
            return None
    except Hold:
        if remove:
            raise
        return None
    found = Holdings()
    seen = [bytearray(size) for size in references.needed.sizes()]
    for count, stored in enumerate(archive.stored(), start=1):
        if stored.digest and not stored.owner:
            found.counts["objects"] += 1
            found.counts["octets"] += stored.size
            if place := references.needed.find(stored.digest):
                seen[place[0]][place[1]] = 1
        if stored.modified < now_ms - GRACE_MS and not (stored.digest and references.held.find(stored.digest)):
            _orphan(archive, stored, found, now_ms - GRACE_MS, remove=remove)
        if tick and not count % 1000:
            tick(0)
    missing = {prefix for heap, place, prefix in references.needed.each() if not seen[heap][place]}
    if missing:
        for record in _who_misses(log, topics, archive, missing):
            found.counts["missing"] += 1
            if len(found.records) < MOST_TOLD:
                found.records.append(record)
    return found


def _orphan(archive: ObjectArchive, stored: Stored, found: Holdings, before: int, *, remove: bool) -> None:
    found.counts["orphans"] += not stored.owner
    found.counts["orphan_octets"] += stored.size
    if remove and archive.discard(stored, before):
        found.counts["removed"] += not stored.owner


def _who_misses(log: Reader, topics: Topics, archive: ObjectArchive, missing: set[str]) -> Iterator[dict[str, Any]]:
    """The mails whose bytes are missing, by a second look: who was erased meanwhile misses nothing."""
    erased = {mail_id(record.value) for record in log.read(topics.outcomes) if record.header("ce_type") == glance.ERASED}
    for record in log.read(topics.raw):
        facts = glance.facts_bytes(record)
        digest = archived(facts)
        if facts and digest and digest[:18] in missing and mail_id(facts) not in erased and digest not in archive:
            raw = {"topic": topics.raw, "partition": record.partition, "offset": record.offset}
            yield told("missing", f"the archive does not have sha256:{digest}", raw, 0, [(record._replace(value=b""), facts)])
