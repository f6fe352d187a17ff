"""What fsck makes of the mails of a stretch of one raw partition, by what was noted of them.

A *pass* is one mail in one generation: the raw offset with the generation. Everything is counted by passes, never by mail ids,
because foreign records may be identical and still are two mails.
"""

from array import array
from collections import Counter
from collections.abc import Container, Iterator
from functools import cache
from typing import NamedTuple

# What was seen of a pass.
PRESENT = 1  # the raw record is there
SCREENED = 2
AUTHENTICATED = 4
DELIVERED = 8  # routing has made a delivery of it, or ended one
ENDED = 16  # the whole mail has an outcome
REPEATED = 32  # all of its recipients were here before
WAITS = 64  # a stage had not reached a record of it when the groups' positions were noted
FRESH = 128  # a record of it is younger than all that retention has taken from the topics where its end would stand
ERASED = 4096  # a tombstone tells that the mail was erased
# What follows from its deliveries.
TWICE = 256  # two records where there should be one
MISSING = 512  # one has neither an outcome nor a record that waits
OPEN = 1024  # one waits
STUCK = 2048  # one waits, or the mail does, where nobody will come for it

FATES = ("doubled", "lost", "stuck", "on_its_way", "beyond_retention", "erased", "repeated", "ended")
"""What a mail counts as; where its passes differ, the first of these."""

_RANK = {fate: rank for rank, fate in enumerate(FATES)}
_GENERATION_BITS = 24
_GENERATION = (1 << _GENERATION_BITS) - 1


def place_of(offset: int, generation: int) -> int:
    """A pass as one number."""
    return offset << _GENERATION_BITS | generation


def offset_of(place: int) -> int:
    """The raw offset of a pass."""
    return place >> _GENERATION_BITS


def generation_of(place: int) -> int:
    """The generation of a pass."""
    return place & _GENERATION


@cache
def fate_of(marks: int) -> str:
    """What became of a pass, by its marks; `lost` also where only retention may have taken its end."""
    if marks & TWICE or (marks & ENDED and marks & DELIVERED):
        return "doubled"
    for bit, fate in ((MISSING, "lost"), (STUCK, "stuck"), (OPEN, "on_its_way")):
        if marks & bit:
            return fate if fate != "lost" or marks & FRESH else "beyond_retention"
    if marks & (ENDED | DELIVERED | REPEATED) and marks & (ERASED | PRESENT):
        return "erased" if marks & ERASED else "repeated" if not marks & (ENDED | DELIVERED) else "ended"
    if marks & WAITS:
        return "on_its_way"
    if marks & ERASED:
        return "erased"
    return "lost" if marks & FRESH else "beyond_retention"


class Entries:
    """Deliveries, each as its pass and the first 64 bits of its id (a part of a SHA-256)."""

    def __init__(self) -> None:
        self._places = array("Q")
        self._ids = array("Q")

    def note(self, place: int, id_: int) -> None:
        """Notes a delivery of a pass."""
        self._places.append(place)
        self._ids.append(id_)

    def each(self) -> Iterator[int]:
        """Every note as one number."""
        return (place << 64 | id_ for place, id_ in zip(self._places, self._ids, strict=True))

    def twice(self, distinct: set[int]) -> list[int]:
        """What was noted more than once. distinct: the set of `each`."""
        if len(distinct) == len(self._places):
            return []
        return [entry for entry, count in Counter(self.each()).items() if count > 1]


def pass_of(entry: int) -> int:
    """The pass of what `Entries.each` gives."""
    return entry >> 64


class Judgement(NamedTuple):
    """What became of a partition's mails. sound: the fates of those without fault; faulty: the offsets of the others, with their
    fate; faults: their passes, each with what is wrong: doubled, lost, or unknown (an outcome that nothing led to). named: the offsets of
    mails without fault whose fate was asked for, with it."""

    sound: Counter[str]
    faulty: dict[int, str]
    faults: list[tuple[int, str]]
    named: dict[int, str]


class Ledger:
    """The mails of one raw partition whose offsets lie between first and end (exclusive): some 300 bytes each while they are judged.

    routes: deliveries that must come to an outcome, those that routing ended itself and whole mails included; due: those that the
    envelope demands; outcomes: those that have one; waiting: those that wait; stranded: those that wait where nobody comes.
    brought_by: the offsets of raw records that a replay wrote, with its generation, which is that of their first pass.
    """

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = end
        self.routes = Entries()
        self.due = Entries()
        self.outcomes = Entries()
        self.waiting = Entries()
        self.stranded = Entries()
        self.brought_by: dict[int, int] = {}
        self._marks = array("H", bytes(2 * max(0, end - first)))
        self._later: dict[int, int] = {}

    def marks(self, place: int) -> int:
        """What was seen of a pass."""
        if generation_of(place):
            return self._later.get(place, 0) | (self._marks[offset_of(place) - self.first] if self._is_first(place) else 0)
        return self._marks[offset_of(place) - self.first]

    def mark(self, place: int, bits: int) -> None:
        """Notes what was seen of a pass."""
        if place & _GENERATION:
            self._later[place] = self._later.get(place, 0) | bits
        else:
            self._marks[(place >> _GENERATION_BITS) - self.first] |= bits

    def once(self, place: int, bit: int, others: int) -> None:
        """Notes a record of which a pass has only one, and TWICE when it was noted already. others: what else to note."""
        self.mark(place, bit | others | (TWICE if self.marks(place) & bit else 0))

    def judge(self, *, routes_are_complete: bool, naming: Container[str] = ()) -> Judgement:
        """What became of every mail. routes_are_complete: retention has taken no route, so that an outcome without one is unknown. naming:
        fates whose mails are to be named. To be called once, when everything has been noted."""
        faults = [(pass_of(entry), "unknown") for entry in self._compare(routes_are_complete=routes_are_complete)]
        later: dict[int, str] = {}
        for place, marks in self._later.items():
            if not self._is_first(place):
                fate = fate_of(marks | PRESENT)
                later[offset_of(place)] = _worse(fate, later.get(offset_of(place), fate))
                if fate in ("doubled", "lost"):
                    faults.append((place, fate))
        if not (faults or later or self.brought_by) and (sound := self._all_sound()) and not any(fate in naming for fate in sound):
            return Judgement(sound, {}, [], {})
        sound = Counter()
        named: dict[int, str] = {}
        faulty = dict.fromkeys((offset_of(place) for place, _ in faults), "lost")
        for offset, marks in enumerate(self._marks, start=self.first):
            place = place_of(offset, self.brought_by.get(offset, 0)) if self.brought_by else place_of(offset, 0)
            seen = marks if generation_of(place) == 0 else self.marks(place)
            if not seen and offset not in later:
                continue  # no mail: Kafka's transactions take offsets too
            fate = fate_of(seen) if seen else "beyond_retention"
            if fate in ("doubled", "lost"):
                faults.append((place, fate))
                faulty[offset] = fate
            if later:
                fate = _worse(fate, later.get(offset, fate))
            if faulty and offset in faulty:
                faulty[offset] = fate
            else:
                sound[fate] += 1
                if fate in naming:
                    named[offset] = fate
        return Judgement(sound, faulty, faults, named)

    def _all_sound(self) -> Counter[str]:
        """The fates of all mails, where none of them is at fault; else nothing."""
        sound: Counter[str] = Counter()
        for marks, count in Counter(self._marks).items():
            if marks:  # else no mail: Kafka's transactions take offsets too
                sound[fate_of(marks)] += count
        return Counter() if sound.keys() & {"doubled", "lost"} else sound

    def _is_first(self, place: int) -> bool:
        return self.brought_by.get(offset_of(place)) == generation_of(place)

    def _compare(self, *, routes_are_complete: bool) -> set[int]:
        """Sets the deliveries against each other and marks their passes. Returns the outcomes that nothing led to."""
        routes, outcomes = set(self.routes.each()), set(self.outcomes.each())
        for entry in (*self.routes.twice(routes), *self.outcomes.twice(outcomes)):
            self.mark(pass_of(entry), TWICE)
        waiting, stranded = set(self.waiting.each()) - outcomes, set(self.stranded.each()) - outcomes
        for entries, bit in ((waiting, OPEN), (stranded, STUCK), (routes - outcomes - waiting - stranded, MISSING)):
            for entry in entries:
                self.mark(pass_of(entry), bit)
        for entry in set(self.due.each()) - routes - outcomes:
            # A whole mail's outcome is all that its deliveries get; and what waits may not have been routed yet.
            if not self.marks(pass_of(entry)) & (ENDED | WAITS):
                self.mark(pass_of(entry), MISSING)
        return outcomes - routes if routes_are_complete else set()


def _worse(one: str, other: str) -> str:
    return min(one, other, key=_RANK.__getitem__)
