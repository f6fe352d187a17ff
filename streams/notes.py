"""Notes of tries: how a record that kills the process is found and set aside, however the process died.

Beside a group's position stands what a worker has in hand behind it, so that its successor sees what it died on:

    1       whatever follows
    2+64    the next 64 offsets, on the second try
    1@57    the record at offset 57, alone
    2@57    the same, alone again

After a death a worker begins with a small portion, and takes twice as much as long as all goes well. After a death on a large portion
it takes small ones as far as that reached; after one on a small portion, it goes record by record. A record that ran alone at two
deaths killed its worker, and is not run again. That takes four deaths, or five where many records stand before it. It would take fewer
if one death alone were enough, but then a worker that somebody kills from outside every few seconds leaves innocent records set aside.

The commit of one batch writes the note of the next, so that notes cost no writes of their own but one when a partition is taken
over, and one when it is given up in good order, which takes the note back.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.log import Standing
from streams.record import Record, TopicPartition, places

FIRST = 4
"""Offsets of a partition that may be in hand after a death."""
SMALL = 16
"""So many go record by record when a worker died on them."""
LARGE = 512
"""When all has gone well up to a portion of so many, there is no suspicion any more."""
_NOTE = re.compile(r"([1-9]\d{0,8})(?:\+(\d{1,9})|@(\d{1,18}))?", re.ASCII)


class Note(NamedTuple):
    """tries: how often this was begun. span: so many offsets behind the position; None: any number. alone: the offset of the record
    that ran alone, or None."""

    tries: int
    span: int | None = None
    alone: int | None = None

    def __str__(self) -> str:
        if self.alone is not None:
            return f"{self.tries}@{self.alone}"
        return "" if not self.tries else f"{self.tries}+{self.span}" if self.span else f"{self.tries}"


NOTHING = Note(0)
ANYTHING = Note(1)


def parse(text: str) -> Note:
    """A note as found; what is no note of ours counts as none."""
    match = _NOTE.fullmatch(text)
    return Note(int(match[1]), *(int(part) if part else None for part in match.groups()[1:])) if match else NOTHING


@dataclass(slots=True)
class _Partition:
    """What is known of one partition.

    found: the note at which it was taken over. portion: how many offsets may be in hand, None for any number; start: the first of them,
    None until its record is there. small: how many offsets are left that go in small portions. alone: the portion goes record by record.
    begun: our own note stands beside the position. moved: we have committed something."""

    found: Note
    portion: int | None = None
    start: int | None = None
    small: int = 0
    alone: bool = False
    begun: bool = False
    moved: bool = False

    @classmethod
    def taken_over(cls, found: Note) -> "_Partition":
        """With what the note says of the worker before us."""
        if not found.tries:
            return cls(found)
        if found.alone is not None:
            return cls(found, portion=FIRST, alone=True)
        if found.span and found.span <= SMALL:
            return cls(found, portion=found.span, alone=True)
        return cls(found, portion=FIRST, small=found.span or 0)

    def takes(self, record: Record) -> bool:
        """Whether the record, the next one of the partition that has not been asked for, may run together with others now."""
        assert self.portion
        if self.start is None:
            self.start = record.offset
        if record.offset < self.start + self.portion:
            return not self.alone
        if self.alone:  # all of the portion are done, else one of them would have been asked for
            self.alone, self.portion, self.start = False, FIRST, record.offset
            return True
        return False

    def grow(self) -> None:
        """The portion is done."""
        if not self.portion or self.alone:
            return
        self.small = max(0, self.small - self.portion)
        self.portion = min(2 * self.portion, SMALL) if self.small else 2 * self.portion if self.portion < LARGE else None
        self.start = None

    def note(self) -> Note:
        """What is to stand beside the position."""
        if self.begun:
            return Note(2, self.portion) if self.portion else ANYTHING
        if not self.moved:
            return self.found
        return ANYTHING if self.portion else NOTHING

    def note_alone(self, offset: int) -> Note:
        """What is to stand there while that record runs alone."""
        return Note(self.found.tries + 1 if self.found.alone == offset else 1, alone=offset)

    def condemns(self, offset: int) -> bool:
        """Whether that record ran alone at two deaths."""
        return self.found.alone == offset and self.found.tries > 1


class Tries:
    """What a worker knows of the tries of its partitions."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._wary: dict[TopicPartition, _Partition] = {}

    @property
    def wary(self) -> bool:
        """Whether there are partitions of which only a portion may be in hand."""
        return bool(self._wary)

    def assigned(self, standings: Mapping[TopicPartition, Standing]) -> None:
        """Takes over partitions, with the notes found beside the group's positions. Those that are known already stay as they are: what
        stands there is our own."""
        for at in standings.keys() - self._partitions.keys():
            state = self._partitions[at] = _Partition.taken_over(parse(standings[at].note))
            if state.portion:
                self._wary[at] = state

    def revoked(self, partitions: Collection[int]) -> None:
        """Forgets partitions."""
        for table in (self._partitions, self._wary):
            for at in [at for at in table if at.partition in partitions]:
                del table[at]

    def portion(self, records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
        """What may be in hand at once, and the rest. A record that must run alone comes when there is nothing else left."""
        if not self._wary:
            return records, ()
        now: list[Record] = []
        rest: list[Record] = []
        full: set[TopicPartition] = set()
        for record in records:
            state = self._wary.get(record.at)
            if state is None or (record.at not in full and state.takes(record)):
                now.append(record)
            else:
                full.add(record.at)
                rest.append(record)
        return (now, rest) if now else (rest[:1], rest[1:])

    def is_alone(self, portion: Sequence[Record]) -> bool:
        """Whether a portion is a record that must run alone."""
        state = self._wary.get(portion[0].at)
        return state is not None and state.alone

    def condemned(self, portion: Sequence[Record]) -> bool:
        """Whether a portion is a record that ran alone each time that its worker died."""
        return self.is_alone(portion) and self._wary[portion[0].at].condemns(portion[0].offset)

    def beginning(self, portion: Sequence[Record]) -> dict[TopicPartition, str]:
        """The notes to write before the portion is run; none where they stand there already."""
        notes: dict[TopicPartition, str] = {}
        alone = self.is_alone(portion)
        for at in places(portion):
            state = self._partitions[at]
            if alone or not state.begun:
                state.begun = True
                notes[at] = str(state.note_alone(portion[0].offset) if alone else state.note())
        return notes

    def done(self, positions: Iterable[TopicPartition]) -> dict[TopicPartition, str]:
        """The notes for a commit that ends a portion: what is in hand behind it."""
        for at in positions:
            state = self._partitions[at]
            state.moved = state.begun = True
            state.grow()
            if state.portion is None:
                self._wary.pop(at, None)
        return self.notes(positions)

    def notes(self, positions: Iterable[TopicPartition]) -> dict[TopicPartition, str]:
        """The notes as they stand, for a commit that only moves positions."""
        return {at: str(self._partitions[at].note()) for at in positions}

    def afresh(self, partitions: Collection[int]) -> dict[TopicPartition, str]:
        """Nothing is in hand any more: the notes to write where ours stand, if there is time for that. They are written anew before
        the next portion is run."""
        ours = [at for at, state in self._partitions.items() if at.partition in partitions and state.begun]
        for at in ours:
            self._partitions[at].begun = False
        return self.notes(ours)
