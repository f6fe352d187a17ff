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
from postroom.reading.references import Digests, References, archived, mail_id
from streams.faults import Hold
from streams.log import Reader
from streams.record import Record
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
    unseen = _Unseen(references.needed)
    for count, stored in enumerate(archive.stored(), start=1):
        if stored.digest and not stored.owner:
            found.counts["objects"] += 1
            found.counts["octets"] += stored.size
            unseen.see(stored.digest)
        if stored.modified < now_ms - GRACE_MS and not (stored.digest and references.held.find(stored.digest)):
            _orphan(archive, stored, found, now_ms - GRACE_MS, remove=remove)
        if tick and not count % 1000:
            tick(0)
    for record, facts, digest in _who_misses(log, topics, archive, unseen.left()):
        found.counts["missing"] += 1
        if len(found.records) < MOST_TOLD:
            raw = {"topic": topics.raw, "partition": record.partition, "offset": record.offset}
            why = f"the archive does not have sha256:{digest}"
            found.records.append(told("missing", why, raw, 0, [(record._replace(value=b""), facts)]))
    return found


def missing(archive: ObjectArchive, references: References, log: Reader, topics: Topics) -> list[str]:
    """The digests, hex, of what mails need and the archive does not have, one for each mail; those of all where there is no archive.
    references: as `fsck` has noted them. Raises Hold where it is away."""
    references.needed.sort()
    unseen = _Unseen(references.needed)
    for stored in archive.stored() if archive.begun() else ():
        if stored.digest and not stored.owner:
            unseen.see(stored.digest)
    return [digest for _, _, digest in _who_misses(log, topics, archive, unseen.left())]


class _Unseen:
    """Which of some digests have not been seen yet."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._seen = [bytearray(size) for size in digests.sizes()]

    def see(self, digest: str) -> None:
        if place := self._digests.find(digest):
            self._seen[place[0]][place[1]] = 1

    def left(self) -> set[str]:
        """Their first 18 hex digits."""
        return {prefix for heap, place, prefix in self._digests.each() if not self._seen[heap][place]}


def _orphan(archive: ObjectArchive, stored: Stored, found: Holdings, before: int, *, remove: bool) -> None:
    found.counts["orphans"] += not stored.owner
    found.counts["orphan_octets"] += stored.size
    if remove and archive.discard(stored, before):
        found.counts["removed"] += not stored.owner


def _who_misses(log: Reader, topics: Topics, archive: ObjectArchive, unseen: set[str]) -> Iterator[tuple[Record, bytes, str]]:
    """The mails whose bytes are missing, each with its facts and digest, by a second look: who was erased meanwhile misses nothing."""
    if not unseen:
        return
    erased = {mail_id(record.value) for record in log.read(topics.outcomes) if record.header("ce_type") == glance.ERASED}
    for record in log.read(topics.raw):
        facts = glance.facts_bytes(record)
        digest = archived(facts)
        if facts and digest and digest[:18] in unseen and mail_id(facts) not in erased and digest not in archive:
            yield record, facts, digest
