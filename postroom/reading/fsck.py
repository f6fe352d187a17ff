"""The accounts of a log: what was taken in, and what became of it (DESIGN.md section 5, Accounting).

First the end of mail.raw is noted, then where every group stands, and only then are the topics read, against the stream: outcomes,
what waits for handlers, routes, authenticated, screened, raw. Whatever led to an outcome was there before it, and what a group had
passed when its position was noted had been written on, so a log that is being worked on shows no fault that it does not have.

Only `streams.log.Reader` is used, so every engine is accounted for in one way. Each topic is read once. What then looks wrong is
read again a moment later, which lets a broker finish its transactions, and brings the records that tell of it.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from postroom.crew import Tick
from postroom.reading.cut import Cut
from postroom.reading.faults import Mail
from postroom.reading.look import Look, Opener
from postroom.reading.references import References
from postroom.reading.tasks import MOST_NAMED
from streams.log import Reader
from topology.records import Topics

MOST_FAULTS = 10_000
"""Mails that are read again and listed. A log with more faults has one cause, and the first ones show it."""

COUNTS = ("raw", "ended", "on_its_way", "stuck", "repeated", "erased", "beyond_retention", "lost", "doubled", "unknown")


@dataclass
class Accounts:
    """What fsck found. counts: see `fsck`. records: each fault with the records that tell of it. listed: mails that were asked for,
    likewise. archive: see `postroom.reading.holdings`; None where it was not looked at, or there is none."""

    counts: dict[str, int]
    records: list[dict[str, Any]] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    archive: dict[str, int] | None = None

    @property
    def clean(self) -> bool:
        """Whether everything is accounted for, once, the archive has what the log says it has, and nothing is told of anything."""
        return not self.records and not any(self.counts[name] for name in ("lost", "doubled", "unknown"))


def fsck(
    log: Reader,
    topics: Topics,
    known_handlers: Collection[str] | None = None,
    *,
    tick: Tick | None = None,
    pause: float = 1.0,
    references: References | None = None,
    opener: Opener | None = None,
    processes: int | None = None,
    naming: Mapping[str, str] | None = None,
) -> Accounts:
    """Accounts for every mail of the log. Memory: the same however many there are, some 100 MB a process; what does not fit stands in
    files of the temporary folder, 100 bytes a mail. Raises Newer, Transient.

    known_handlers: those that the settings name; None for all that there are. pause: seconds before a second look at faults.
    references: notes what the log needs of the archive, to be held against it (`postroom.reading.holdings`). opener, processes: by which
    processes open the log to read partitions side by side, and how many (None: as many as there are processors, where there is enough
    to read); without an opener it is read in this one. naming: fates of which some mails are to be listed with their records, each with
    what it means in words.

    raw is the number of mails (records of mail.raw) up to the moment of the call, and the sum of their fates:
    ended              every delivery has one outcome in each generation, or the whole mail has it
    on_its_way         something of it waits for a stage that will come to it
    stuck              something of it waits where nobody comes: for a handler that the settings do not name, or where the group's
                       position has expired
    repeated           all of its recipients were here before
    erased             as ended or repeated, and a tombstone says that the mail itself was erased
    beyond_retention   the log has dropped its record, or may have dropped the end of its story
    lost               a stage has passed it, or a delivery of it, and nothing tells what became of it; or its record is gone
    doubled            something was written twice: screened, authenticated, a route, or an outcome of one delivery and generation
    and beside them:
    unknown            records that belong to no mail: of another log, of a position that does not exist, without a position, or an
                       outcome of a delivery that nothing routed
    """
    cut = Cut(log, topics, known_handlers)
    naming = naming or {}
    look = Look(log, topics, cut, tick, None, references, opener, processes, frozenset(naming))
    counts, faulty, faults = look.judge()
    records = look.strays
    if faulty:
        again = frozenset(list(faulty)[:MOST_FAULTS])
        time.sleep(pause)
        second = Look(log, topics, cut, tick, only=again, opener=opener, processes=processes)
        sound, confirmed, found = second.judge()
        counts += sound
        faulty = {mail: fate for mail, fate in faulty.items() if mail not in again} | confirmed
        faults = [fault for fault in faults if fault.mail not in again] + found
        records = records + [second.tell(fault) for fault in found]
    counts += Counter(faulty.values())
    counts["unknown"] = look.stray_count + sum(fault.problem == "unknown" for fault in faults)
    counts["beyond_retention"] += sum(extent.first for extent in cut.raw)
    counts["raw"] = sum(count for name, count in counts.items() if name != "unknown")
    listed = _listed(look, lambda only: Look(log, topics, cut, tick, only, None, opener, processes), naming)
    return Accounts({name: counts[name] for name in COUNTS}, records[:MOST_FAULTS], listed)


def _listed(look: Look, again: Callable[[frozenset[Mail]], Look], naming: Mapping[str, str]) -> list[dict[str, Any]]:
    """Some mails of the fates that were asked for, in their order, with their records, which are read for this once more."""
    named = dict(islice(sorted(look.named.items()), MOST_NAMED))
    if not named:
        return []
    found = again(frozenset(named))
    return [found.of(mail, fate, naming[fate]) for mail, fate in named.items()]
