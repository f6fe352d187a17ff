"""The headers of a batch's records as bytes.

Records of one kind have the same names in the same order, and most values alike. What all of them have is written once a batch, as one
layout; what is written for each record is the rest.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from streams.record import Headers

LONGEST_ALIKE = 128
"""Bytes of a value that may stand in a layout. Layouts are kept in memory, and longer values are hardly ever alike."""

Member = tuple[str, bytes | None]
"""A header of a layout: its name, and the value that all have, or None where each has its own."""


class Layout(NamedTuple):
    """What some headers have alike. text: in JSON, a list of names, or of a name and a value (ISO 8859-1). size: bytes of these. own: the
    places of those that each has for itself. before, after: the headers around the first of these. lengths: of all their values but the
    last."""

    members: tuple[Member, ...]
    text: bytes
    size: int
    own: tuple[int, ...]
    before: Headers
    after: Headers
    lengths: struct.Struct

    def decode(self, body: bytes, at: int, end: int) -> Headers:
        """The headers whose own values stand there in a body. Raises struct.error."""
        own = self.own
        if not own:
            return self.before
        if len(own) == 1:
            return (*self.before, (self.members[own[0]][0], body[at:end]), *self.after)
        headers: list[tuple[str, bytes]] = list(self.members)  # type: ignore[arg-type]  # what is None is filled in
        begin = at + self.lengths.size
        for place, size in zip(own, self.lengths.unpack_from(body, at), strict=False):  # the last one has no length of its own
            headers[place] = (headers[place][0], body[begin : begin + size])
            begin += size
        headers[own[-1]] = (headers[own[-1]][0], body[begin:end])
        return tuple(headers)


def _layout(members: tuple[Member, ...]) -> Layout:
    listed = [name if value is None else [name, value.decode("iso-8859-1")] for name, value in members]
    own = tuple(place for place, (_, value) in enumerate(members) if value is None)
    first = own[0] if own else len(members)
    around = [tuple((name, value) for name, value in some if value is not None) for some in (members[:first], members[first + 1 :])]
    text = json.dumps(listed, separators=(",", ":")).encode("ascii")
    size = sum(len(name) + len(value or b"") for name, value in members)
    return Layout(members, text, size, own, around[0], around[1], struct.Struct(f"<{max(0, len(own) - 1)}I"))


NONE = _layout(())
"""Of records without headers."""

_known_layout = lru_cache(maxsize=1024)(_layout)
_LONGEST_KNOWN = 4096
"""Bytes of a layout that is kept in memory: a foreign producer may give its headers any number of names, of any length."""


def _kept_layout(members: tuple[Member, ...]) -> Layout:
    return _known_layout(members) if sum([len(name) for name, _ in members]) <= _LONGEST_KNOWN else _layout(members)


def layouts_in(text: bytes) -> tuple[Layout, ...]:
    """The layouts of a batch. Raises ValueError where the text is of none."""
    return _known_layouts(text) if len(text) <= _LONGEST_KNOWN else _layouts(text)


def _layouts(text: bytes) -> tuple[Layout, ...]:
    try:
        return tuple(_layout(tuple(map(_member, listed))) for listed in json.loads(text))
    except TypeError as error:
        raise ValueError(f"no layouts: {error}") from error


_known_layouts = lru_cache(maxsize=1024)(_layouts)


def _member(listed: str | list[str]) -> Member:
    if isinstance(listed, str):
        return listed, None
    name, value = listed
    return name, value.encode("iso-8859-1")


def text_of(layouts: Iterable[Layout]) -> bytes:
    """What `layouts_in` reads."""
    return b"[" + b",".join([layout.text for layout in layouts]) + b"]"


class Encoded(NamedTuple):
    """which: the number of each record's layout among the layouts. own: what each has for itself, as `Layout.decode` reads it."""

    layouts: list[Layout]
    which: list[int]
    own: Sequence[bytes]


def encode(headers: Sequence[Headers]) -> Encoded:
    """The headers of a batch's records, at least one. Layouts are one for each sequence of names. One record alone has all for itself: its
    values would make a layout that no other has."""
    if len(headers) == 1:
        (one,) = headers
        layout = _kept_layout(tuple((name, None) for name, _ in one))
        values = [value for _, value in one]
        alone: Sequence[bytes] = values if len(values) == 1 else [b"".join((layout.lengths.pack(*map(len, values[:-1])), *values))]
        return Encoded([layout], [0], alone)
    if (columns := _columns(headers)) is not None:
        layout, own = _encoded(columns, len(headers))
        return Encoded([layout], [0] * len(headers), own)
    kinds: dict[tuple[str, ...], list[int]] = {}
    for rank, one in enumerate(headers):
        kinds.setdefault(tuple(name for name, _ in one), []).append(rank)
    found = Encoded([], [0] * len(headers), owns := [b""] * len(headers))
    for number, ranks in enumerate(kinds.values()):
        (layout,), _, own = encode([headers[rank] for rank in ranks])
        found.layouts.append(layout)
        for rank, one_own in zip(ranks, own, strict=True):
            found.which[rank], owns[rank] = number, one_own
    return found


_Column = tuple[bool, tuple[tuple[str, bytes], ...]]
"""All records' headers at one place, and whether they are alike."""


def _columns(headers: Sequence[Headers]) -> list[_Column] | None:
    """The headers by their places; None where names are not the same at each."""
    if len(set(map(len, headers))) != 1:
        return None
    columns: list[_Column] = []
    for pairs in zip(*headers, strict=True):
        first = pairs[0]
        alike = first == pairs[-1] and len(first[1]) <= LONGEST_ALIKE and pairs.count(first) == len(pairs)
        if not alike and len({name for name, _ in pairs}) != 1:
            return None
        columns.append((alike, pairs))
    return columns


def _encoded(columns: Sequence[_Column], count: int) -> tuple[Layout, Sequence[bytes]]:
    """The layout of so many records of the same names, and what each has for itself."""
    members: list[Member] = []
    own: list[Sequence[bytes]] = []
    for alike, pairs in columns:
        if alike:
            members.append(pairs[0])
        else:
            members.append((pairs[0][0], None))
            own.append([value for _, value in pairs])
    layout = _kept_layout(tuple(members))
    if len(own) < 2:
        return layout, own[0] if own else [b""] * count
    lengths = zip(*(map(len, values) for values in own[:-1]), strict=True)
    return layout, [b"".join((layout.lengths.pack(*some), *values)) for some, values in zip(lengths, zip(*own, strict=True), strict=True)]


def sizes(headers: Sequence[Headers]) -> tuple[int, Sequence[int]]:
    """About the bytes of the headers that all of these records have alike, and of the others of each."""
    if len(headers) < _FEW or (columns := _columns(headers)) is None:
        return 0, [size_of(one) for one in headers]
    alike = sum([size_of(pairs[:1]) for same, pairs in columns if same])
    own = [[len(name) + len(value) for name, value in pairs] for same, pairs in columns if not same]
    return alike, list(map(sum, zip(*own, strict=True))) if own else [0] * len(headers)


_FEW = 8
"""Records of which each is looked at by itself sooner."""


def size_of(headers: Headers) -> int:
    """Bytes of names and values."""
    return sum([len(name) + len(value) for name, value in headers])
