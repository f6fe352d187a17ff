"""How fsck notes what a record tells of its mail, and how notes enter a ledger.

A note is a pass, an id (64 bits of a delivery's, or of a digest), and a word: the marks of the pass, and what to do with the id.
"""

from collections.abc import Iterator
from typing import Any

from postroom.reading.ledger import AUTHENTICATED, SCREENED, Ledger, offset_of

ROUTE = 1 << 16  # a delivery that must come to an outcome
DUE = 1 << 17  # a delivery that the envelope demands
OUTCOME = 1 << 18  # a delivery that has one
WAITING = 1 << 19  # a delivery that waits
STRANDED = 1 << 20  # one that waits where nobody comes
ONCE_SCREENED = 1 << 21  # a record of which a pass has one
ONCE_AUTHENTICATED = 1 << 22
BROUGHT = 1 << 23  # a raw record that a replay wrote
NEED = 1 << 24  # the archive has the mail
DIGEST_AT = 32  # the first eight bits of that digest
MARKS = (1 << 16) - 1


def enter(ledger: Ledger, heap: Any, needs: list[tuple[int, int, int]]) -> None:
    """Enters notes into a ledger, and gives those that are about the archive."""
    numbers: Iterator[int] = iter(heap)
    for place, id_, word in zip(numbers, numbers, numbers, strict=True):
        marks = word & MARKS
        if word & ONCE_SCREENED:
            ledger.once(place, SCREENED, marks)
        elif word & ONCE_AUTHENTICATED:
            ledger.once(place, AUTHENTICATED, marks)
        elif marks:
            ledger.mark(place, marks)
        if word & ROUTE:
            ledger.routes.note(place, id_)
        if word & OUTCOME:
            ledger.outcomes.note(place, id_)
        elif word & WAITING:
            ledger.waiting.note(place, id_)
        elif word & STRANDED:
            ledger.stranded.note(place, id_)
        elif word & DUE:
            ledger.due.note(place, id_)
        elif word & BROUGHT:
            ledger.brought_by[offset_of(place)] = id_
        elif word & NEED:
            needs.append((place, id_, word))
