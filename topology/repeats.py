"""What the bounce filter remembers: the (mail id, recipient, generation) of the last `dedupe_window` of its partitions.

Mail servers hand a mail over again when our answer was lost, possibly for some of its recipients only. The memory is rebuilt from
mail.screened when a partition is assigned, so the log alone decides and a second worker remembers the same.

The window is one of mail.raw: it ends with the record that is processed, however late that happens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from streams.record import Record
from streams.stage import Alive, between, nothing
from topology.facts import Facts
from topology.recent import Recent
from topology.records import CAME, facts_of, recipient_key


class Past(NamedTuple):
    """What the group had done of a partition. until: the time of the record of mail.raw at which it stands, or now, in ms. screened: the
    records of mail.screened appended in the window before that, and since."""

    until: int
    screened: Iterable[Record]


History = Callable[[int, int], Past]
"""(partition, window in ms): see Past."""

_EVERYBODY = ""
"""Stands for the recipient of a hand-over that names none."""


class Repeats:
    """The memory of the partitions that are ours. window: seconds."""

    def __init__(self, window: float, history: History) -> None:
        self._recent = Recent(window)
        self._history = history

    def assigned(self, partitions: Iterable[int], alive: Alive = nothing) -> None:
        """Rebuilds what is remembered of these partitions."""
        for partition in partitions:
            self._recent.forget([partition])
            until, screened = self._history(partition, self._recent.window_ms)
            for record in between(screened, alive):
                try:
                    facts = facts_of(record)
                except ValueError:
                    continue  # junk that somebody else put there says nothing of what was here before
                # Not the time of the screening: what a group that was behind has just screened may have come long ago.
                time = _came(record, until)
                if facts.raw and record.key is not None and facts.screening and time >= until - self._recent.window_ms:
                    for recipient in facts.screening.recipients or (_EVERYBODY,):
                        self._recent.note(partition, facts.raw.offset, time, _entry(facts, recipient))

    def revoked(self, partitions: Iterable[int]) -> None:
        """Forgets partitions."""
        self._recent.forget(partitions)

    def reached(self, records: Sequence[Record]) -> None:
        """These records of mail.raw are next, in whatever parts and however often: what the first of a partition need not know may go."""
        for partition, time_ms in {record.partition: record.time for record in reversed(records)}.items():
            self._recent.reached(partition, time_ms)

    def meet(self, record: Record, facts: Facts) -> "Seen":
        """Sorts the recipients of a raw record, whose facts these are: those that are new, which are remembered, those that are repeats,
        and the offset of the raw record where the first of these came before (None where none did). A hand-over without recipients
        counts as one."""
        seen = Seen([], [], None, nothing_new=True)
        for recipient in facts.envelope.recipients or (_EVERYBODY,):
            first = self._recent.note(record.partition, record.offset, record.time, _entry(facts, recipient))
            # A record that is processed again after a crash meets its own entry, which is no repeat.
            if first >= record.offset:
                seen.nothing_new = False
                if recipient:
                    seen.new.append(recipient)
            else:
                seen.first = first if seen.first is None else min(seen.first, first)
                if recipient:
                    seen.repeats.append(recipient)
        return seen


@dataclass(slots=True)
class Seen:
    """What the memory says of a hand-over. nothing_new: the whole of it was here before."""

    new: list[str]
    repeats: list[str]
    first: int | None
    nothing_new: bool


def _came(record: Record, until: int) -> int:
    """When the raw record of a screened one was appended, in ms, `until` at the latest; where it does not tell, when it was screened."""
    try:
        came = int(record.header(CAME) or b"")
    except ValueError:
        came = record.time
    return min(came, until)


def _entry(facts: Facts, recipient: str) -> bytes:
    """16 octets for the three; they are kept nowhere else."""
    mail_id = facts.envelope.mail_id
    # The length before it, so that no other three read the same.
    named = f"{facts.generation}.{len(mail_id)}.{mail_id}{recipient_key(recipient) if recipient else ''}"
    return sha256(named.encode()).digest()[:16]
