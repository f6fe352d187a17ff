"""Erases the chosen mails.

In this order, so that an erase that is interrupted anywhere can be run again and completes, and nothing ever seems lost:

1. A tombstone for each raw record, and with it, on an engine that allows that, the record itself goes: one atomic step.
2. The archive lets go of the bytes, and reports of errors about it go.
3. Every other record loses what it holds of the mail; see `sweep` for their order.
4. Journals of the engine are cleared.

The tombstone comes first, as it is what tells that bytes are to be gone: without it they would be lost. Where we die behind it, the mail
counts as erased, nothing gives it out any more, `fsck` says that it is unfinished, and the next run takes away what is left.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from postroom.archive import ObjectArchive
from postroom.batching import batches
from postroom.erasing.choice import Choice, Taken
from postroom.erasing.redact import kept_digest, without_content
from postroom.erasing.sweep import Found, Span, spans, sweep
from postroom.erasing.tombstone import Erased, tombstone
from postroom.oopses import OopsReports
from streams.log import Log
from streams.record import Draft, Position
from topology.records import Topics

_STEP, _STEP_OCTETS = 200, 32 << 20
Tick = Callable[[int], None]


@dataclass
class Tally:
    """What there was to erase of the chosen mails. mails, octets: of those without a tombstone; already: of those with one, which are
    gone through again. raw: what mail.raw had; topics: the others. released: objects that only these mails had in the archive; shared:
    those that others have as well, which stay. oopses: reports of errors about them. scrubbed: see `Log.scrub`; None where nothing was
    changed."""

    mails: int = 0
    deliveries: int = 0
    octets: int = 0
    already: int = 0
    on_its_way: int = 0
    raw: Found = field(default_factory=Found)
    topics: dict[Span, Found] = field(default_factory=dict)
    released: int = 0
    shared: int = 0
    oopses: int = 0
    scrubbed: bool | None = None

    @property
    def waiting(self) -> int:
        """Records that somebody has still to read, and that hold the mail itself."""
        return sum(found.waiting for span, found in self.topics.items() if span.topic.endswith(".failures"))


class Erasing:
    """One erase, or the look at what it would do. erased: when, who and why; None only looks."""

    def __init__(
        self, log: Log, topics: Topics, archive: ObjectArchive, oopses: OopsReports, choice: Choice, erased: Erased | None
    ) -> None:
        self._log = log
        self._topics = topics
        self._archive = archive
        self._oopses = oopses
        self._choice = choice
        self._erased = erased

    def run(self, tick: Tick) -> Tally:
        """Does it, and tells what it was. tick: told how many more records were looked at. Raises LogError, and Hold where the archive is
        away; what was done by then stays done."""
        tally = Tally(on_its_way=self._choice.on_its_way)
        for raws in self._choice.mails.values():
            self._count(tally, list(raws.values()))
        if not self._choice.mails:
            return tally
        if any((taken.envelope.get("archived") or "").startswith("sha256:") for _, _, taken in self._choice.taken):
            self._archive.demand()
        for batch in batches(self._choice.taken, _STEP, _STEP_OCTETS, _inline):
            self._bury(tally, batch)
            tick(len(batch))
        for reference, owner in dict.fromkeys(self._archived()):
            self._let_go(tally, reference, owner)
        for oops_id in {oops_id for _, _, taken in self._choice.taken for oops_id in taken.oopses}:
            tally.oopses += self._oopses.has(oops_id) if self._erased is None else self._oopses.forget(oops_id)
        release = None if self._erased is None else self._archive.release
        for span in spans(self._topics, self._log):
            found = tally.topics[span] = sweep(self._log, span, self._choice.mails, self._choice.since, release, tick)
            tally.released += found.objects
        if self._erased is not None and self._log.revisable:
            tally.scrubbed = self._log.scrub()
        return tally

    def _count(self, tally: Tally, raws: list[Taken]) -> None:
        if all(taken.erased for taken in raws):
            tally.already += 1
        else:
            tally.mails += 1
            tally.deliveries += len({delivery for taken in raws for delivery in taken.outcomes})
            tally.octets += max(taken.envelope["size"] for taken in raws)

    def _bury(self, tally: Tally, batch: Sequence[tuple[bytes, Position, Taken]]) -> None:
        for record in self._log.fetch([raw for _, raw, _ in batch]):
            if record is not None:
                tally.raw.note(record)
                tally.raw.content += 1
                tally.raw.octets += len(record.value)
        if self._erased is None:
            return
        drafts = [self._tombstone(raw, taken, self._erased) for _, raw, taken in batch if not taken.erased]
        if self._log.revisable:
            self._log.revise({raw: None for _, raw, _ in batch}, drafts)
        elif drafts:
            self._log.append(drafts)

    def _tombstone(self, raw: Position, taken: Taken, erased: Erased) -> Draft:
        return tombstone(self._topics, without_content(taken.envelope), raw, replace(erased, outcomes=tuple(taken.outcomes.values())))

    def _archived(self) -> Iterator[tuple[str, str]]:
        """What the archive may have of these mails, with the owner; of those that were never there nothing is asked."""
        for mail, _, taken in self._choice.taken:
            if taken.envelope.get("archived"):
                yield f"sha256:{kept_digest(taken.envelope)}", mail.decode()

    def _let_go(self, tally: Tally, reference: str, owner: str) -> None:
        owners = self._archive.owners(reference)
        if owner not in owners and (owners or reference.rpartition(":")[2] not in self._archive):
            return
        chosen = all(other.encode() in self._choice.mails for other in owners)
        tally.released += chosen
        tally.shared += not chosen
        if self._erased is not None:
            self._archive.release(reference, owner)


def _inline(one: tuple[bytes, Position, Taken]) -> int:
    """The octets of a mail that its raw record has."""
    envelope = one[2].envelope
    return 0 if envelope.get("archived") else int(envelope["size"])
