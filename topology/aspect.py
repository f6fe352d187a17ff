"""An aspect of a head: what a pure function says of some of its fields, remembered by what stands in them.

People write more than one mail, and their programs write the same fields each time: of the twenty fields of a mail most rules read
three, and these say what they said last week.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from topology.head import Head, Layout, laid_out

Word = TypeVar("Word")

MOST = 4_096
"""Words that are kept of an aspect, the latest."""
LONGEST = 1_024
"""Characters of the fields of which a word is kept: a hostile mail may bring any number of them, of any length."""

Reads = Callable[[Layout], Iterable[str]]
"""The names (lower case) of the fields that are read where a header is laid out so."""


class _Cut(NamedTuple):
    """What is read of a layout. names: of the fields, in their order. values: picks theirs. room: characters that are left for them."""

    names: tuple[str, ...]
    values: Callable[[tuple[str, ...]], tuple[str, ...]]
    room: int


class Aspect(Generic[Word]):
    """reads: see `Reads`. judge: a pure function of a head with these fields alone, in their order, and of a word that belongs to the
    mail beside it (its envelope sender). It is shown no other field, so nothing that is remembered can rest on one."""

    def __init__(self, reads: Reads, judge: Callable[[Head, str | None], Word]) -> None:
        self._reads = reads
        self._judge = judge
        self._known = lru_cache(maxsize=MOST)(self._judged)
        self._of_layout = self._cut  # bound once

    def __call__(self, head: Head, beside: str | None = None) -> Word:
        """What `judge` says of this head. Raises what it raises."""
        names, pick, room = head.layout.tells(self._of_layout)
        values = pick(head.values)
        say = self._known if len("".join(values)) <= room else self._judged
        return say(names, values, beside)

    def _judged(self, names: tuple[str, ...], values: tuple[str, ...], beside: str | None) -> Word:
        return self._judge(Head(laid_out(names, sum(map(len, names))), values), beside)

    def _cut(self, layout: Layout) -> _Cut:
        read = sorted((place, name) for name in set(self._reads(layout)) for place in layout.places.get(name, ()))
        names = tuple(name for _, name in read)
        return _Cut(names, _picker([place for place, _ in read]), LONGEST - sum(map(len, names)))


def _picker(places: list[int]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """A function that gives the values at these places. One place alone would give no tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1) if places else slice(0))


def of_fields(*names: str) -> Reads:
    """These names, however a header is laid out."""
    return lambda _layout: names
