"""Notes of tries: how a record that kills the process is found and set aside, however the process died.

Beside a group's position stands how often somebody began on what follows it: `2` is a second try. From the third, records are run
one by one, each noted alone before (`3@57`); a record that is found so after a death killed its worker, and is not run again.

The commit of one batch writes the note of the next (the first try), so that notes cost no writes of their own but one when a
partition is taken over, and one when it is given up in good order, which takes the note back.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.log import Standing
from streams.record import Record, TopicPartition

ALONE_FROM = 3
"""The try from which records are run one by one."""

IN_HAND = "1"
"""The note that a commit leaves: the next batch is in hand for the first time."""


class Note(NamedTuple):
    """tries: how often what follows the position was begun. alone: the offset of the record that was run alone, or None."""

    tries: int
    alone: int | None = None

    def __str__(self) -> str:
        return str(self.tries) if self.alone is None else f"{self.tries}@{self.alone}"


def parse(text: str) -> Note:
    """A note as found; what is no note of ours counts as none."""
    tries, _, alone = text.partition("@")
    return Note(int(tries), int(alone) if alone.isdigit() else None) if tries.isdigit() else Note(0)


class Tries:
    """What a worker knows of the tries of its partitions. span: how many records of a partition a dead worker may have had in hand."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._found: dict[TopicPartition, tuple[Note, int]] = {}
        self._alone_until: dict[TopicPartition, int] = {}
        self._condemned: dict[TopicPartition, int] = {}

    def assigned(self, standings: Mapping[TopicPartition, Standing]) -> None:
        """Takes over partitions, with the notes found beside the group's positions."""
        for at, standing in standings.items():
            note = parse(standing.note)
            self._found[at] = (note, standing.offset)
            self._condemned.pop(at, None)
            self._alone_until.pop(at, None)
            if note.alone is not None and note.alone >= standing.offset:
                self._condemned[at] = note.alone
            if note.tries + 1 >= ALONE_FROM:
                self._alone_until[at] = standing.offset + self._span

    def revoked(self, partitions: frozenset[int]) -> None:
        """Forgets partitions."""
        self._found = {at: found for at, found in self._found.items() if at.partition not in partitions}
        self._alone_until = {at: until for at, until in self._alone_until.items() if at.partition not in partitions}
        self._condemned = {at: offset for at, offset in self._condemned.items() if at.partition not in partitions}

    def beginning(self, records: Iterable[Record]) -> dict[TopicPartition, str]:
        """The notes to write before the first batch of partitions just taken over is run; empty ever after."""
        if not self._found:
            return {}
        fresh = {record.at for record in records} & self._found.keys()
        return {at: str(Note(self._found.pop(at)[0].tries + 1)) for at in fresh}

    def must_be_alone(self, record: Record) -> bool:
        """Whether the record is among those that earlier workers died on."""
        until = self._alone_until.get(record.at)
        if until is None:
            return False
        if record.offset >= until:
            del self._alone_until[record.at]
            return False
        return True

    def condemned(self, record: Record) -> bool:
        """Whether the record was run alone when its worker died."""
        return self._condemned.get(record.at) == record.offset

    @staticmethod
    def alone(record: Record) -> dict[TopicPartition, str]:
        """The note to write before the record is run alone."""
        return {record.at: str(Note(ALONE_FROM, record.offset))}
