"""How much of each partition may be in hand at once, and what is noted of that beside the group's position: the same notes, by the
same grammar, as the runner's (`streams.notes`), for deliveries that end in any order.

After a death on a partition only a window of a few offsets behind the group's position may be in hand, and twice as many each time that
so many are done. After a death on a large window it stays small as far as that reached; after one on a small window, those go one by one,
each noted alone before it runs. What ran alone when its worker died is not run again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.log import Standing
from streams.notes import ANYTHING, NOTHING, Note, parse
from streams.record import Record, TopicPartition

FIRST = 4
"""Offsets of a partition that may be in hand after a death."""
SMALL = 8
"""So many go one by one when a worker died on them."""
LARGE = 512
"""When all has gone well up to a window of so many, or of twice the concurrency, there is no suspicion any more."""


@dataclass(slots=True)
class _Partition:
    """found: the note at which it was taken over. window: how many offsets behind the group's position may be in hand, None for any
    number; since: the position at which it was set. alone_until: offsets below it run alone; small_until: the window stays small below
    it. begun: our own note stands there. moved: we have committed something."""

    found: Note
    window: int | None
    since: int
    alone_until: int = 0
    small_until: int = 0
    begun: bool = False
    moved: bool = False

    @property
    def in_hand(self) -> Note:
        """While something is in hand."""
        return Note(2, self.window) if self.window else ANYTHING

    @property
    def note(self) -> str:
        """What is to stand beside the position."""
        if self.begun:
            return str(self.in_hand)
        if not self.moved:
            return str(self.found)
        return str(ANYTHING if self.window else NOTHING)


class Notes:
    """What is known of the partitions that are ours. concurrency: deliveries at once."""

    def __init__(self, concurrency: int) -> None:
        self._large = max(LARGE, 2 * concurrency)
        self._partitions: dict[TopicPartition, _Partition] = {}

    def assigned(self, standings: Mapping[TopicPartition, Standing]) -> None:
        """Takes over partitions, with the notes found beside the group's positions."""
        for at, standing in standings.items():
            found = parse(standing.note)
            state = self._partitions[at] = _Partition(found, FIRST if found.tries else None, standing.offset)
            reached = standing.offset + (found.span or 0)
            if found.alone is not None:
                state.alone_until = found.alone + 1
            elif reached <= standing.offset + SMALL:
                state.alone_until = reached
            else:
                state.small_until = reached

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Forgets partitions."""
        for at in partitions:
            self._partitions.pop(at, None)

    def may_begin(self, record: Record, position: int) -> bool:
        """Whether the record is near enough to the group's position to be in hand."""
        state = self._partitions.get(record.at)
        return state is None or state.window is None or record.offset < max(position + state.window, state.alone_until)

    def must_be_alone(self, record: Record) -> bool:
        """Whether the record is among those that two workers died on."""
        state = self._partitions.get(record.at)
        return state is not None and record.offset < state.alone_until

    def condemned(self, record: Record) -> bool:
        """Whether the record ran alone when its worker died."""
        state = self._partitions.get(record.at)
        return state is not None and state.found.alone == record.offset

    def is_wary(self, at: TopicPartition) -> bool:
        """Whether only a window may be in hand, which moves with the group's position."""
        state = self._partitions.get(at)
        return state is not None and state.window is not None

    def beginning(self, record: Record) -> str | None:
        """The note to write before the record runs; None where it stands there already, or the partition is not ours."""
        state = self._partitions.get(record.at)
        if state is None or (state.begun and not self.must_be_alone(record)):
            return None
        return str(Note(3, alone=record.offset) if self.must_be_alone(record) else state.in_hand)

    def begun(self, at: TopicPartition) -> None:
        """That note stands there."""
        if (state := self._partitions.get(at)) is not None:
            state.begun = True

    def moving(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, str]:
        """The notes for a commit of these positions."""
        notes = {}
        for at, position in positions.items():
            if (state := self._partitions.get(at)) is None:
                continue
            if state.window and position >= max(state.since + state.window, state.alone_until, state.small_until):
                state.window, state.since = (2 * state.window if state.window < self._large else None), position
            state.moved = True
            notes[at] = state.note
        return notes

    def taken_back(self) -> dict[TopicPartition, str]:
        """Nothing is in hand any more: the notes to write where ours stand. They are written anew before the next record runs."""
        ours = {at: state for at, state in self._partitions.items() if state.begun}
        for state in ours.values():
            state.begun = False
        return {at: state.note for at, state in ours.items()}
