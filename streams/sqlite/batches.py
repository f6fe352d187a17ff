"""Record batches: many records of a slot in one row, as they lie in a segment of Kafka.

With a row a record, most of an append went into rows and not into bytes: placing the four records of a mail took SQLite 36 µs, and takes
10 as parts of batches. What one transaction brings a slot becomes one batch, up to a size from which reading a single record of it would
cost too much. Batches are made a member at a time and not a record at a time, for the same reason.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, NamedTuple

from streams.errors import Fatal, TooLarge
from streams.log import Revision
from streams.record import Draft, Record
from streams.sqlite.headers import NONE, Layout, encode, layouts_in, text_of
from streams.sqlite.slots import MAX_OFFSET, OFFSET_BITS, Topic, partition_of
from streams.sqlite.spread import hashes

MOST_RECORDS = 64
MOST_BYTES = 64 << 10
"""What a batch has at most, but for one record that is larger alone. Values that came with a digest do not count: they lie elsewhere."""

CARRIED, KEYED, SHARED, GONE = 1, 2, 4, 8
"""Flags of a record: it is carried; it has a key; its value lies in the table contents, and a reference to it here; it was erased."""

DIGEST_BYTES = 32

_HEAD = struct.Struct("<2I")
"""The number of records, and the bytes of the headers' layouts."""
_ENTRY = struct.Struct("<6I")
"""Of each record: the flags, the number of its headers' layout, and the bytes of unique id, key, own headers and value."""
_REFERENCE = struct.Struct(f"<{DIGEST_BYTES}sQ")
"""Of a value that is SHARED: its digest, and where it lies in the table contents. Found by its digest alone, it would cost a page of that
index, which is in no order."""


class BatchRow(NamedTuple):
    """first: the id of its first record, which those of the others follow. time: of all its records, in ms. live: 1 if one of them is
    not carried. body: the head, the records' entries, the layouts (see headers.py), then unique id, key, own headers, and value or
    reference of each. The first and the last record are never GONE, so that a partition begins where its first row does."""

    first: int
    time: int
    live: int
    body: bytes


class Mark(NamedTuple):
    """What must be known of a record in a pile besides. rank: counted from 0."""

    rank: int
    digest: bytes | None
    once: bytes | None


_MEMBERS = ("flags", "which", "onces", "keys", "own", "lasts", "lengths")


class Pile:
    """Records of one slot, in order, of which a batch will be made.

    numbers: what the caller knows each of them by. drafts: the records themselves, where they were added as such. marks: of those that
    have a digest or a unique id. contents: the values that came with a digest. size: about the bytes of the body; size_of_contents: of the
    contents, each time that they occur. layouts: of the headers. The rest are what the body has of each record, see BatchRow: which is the
    number of its layout, own what it has of the headers for itself, last its value or the digest of that, length that of the value."""

    __slots__ = (
        "contents",
        "drafts",
        "layouts",
        "marks",
        "numbers",
        "size",
        "size_of_contents",
        "slot",
        *_MEMBERS,
    )

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.numbers: list[int] = []
        self.drafts: list[Draft] = []
        self.marks: list[Mark] = []
        self.contents: dict[bytes, bytes] = {}
        self.size = 0
        self.size_of_contents = 0
        self.layouts: list[Layout] = []
        self.flags: list[int] = []
        self.which: list[int] = []
        self.onces: list[bytes] = []
        self.keys: list[bytes] = []
        self.own: list[bytes] = []
        self.lasts: list[bytes] = []
        self.lengths: list[int] = []

    def __len__(self) -> int:
        """Its records."""
        return len(self.numbers)

    @property
    def live(self) -> int:
        """See BatchRow."""
        return int(any(not flags & CARRIED for flags in self.flags))

    def takes(self, records: int, size: int) -> bool:
        """Whether so many more records, of so many bytes together, belong to the same batch."""
        return not self.numbers or (len(self.numbers) + records <= MOST_RECORDS and self.size + size <= MOST_BYTES)

    def put(self, number: int, flags: int, once: bytes, key: bytes, layout: Layout, own: bytes, last: bytes, length: int) -> None:
        """Puts a record behind its own. last: the value, or the digest of one that is SHARED. length: bytes of the value."""
        if layout not in self.layouts:
            self.layouts.append(layout)
        self.numbers.append(number)
        for member, value in zip(_MEMBERS, (flags, self.layouts.index(layout), once, key, own, last, length), strict=True):
            getattr(self, member).append(value)
        self.size += len(once) + len(key) + len(own) + len(last)

    def extend(self, other: "Pile") -> None:
        """Puts the records of another pile of the slot, maybe another caller's, behind its own."""
        self.marks += [mark._replace(rank=len(self) + mark.rank) for mark in other.marks]
        self.contents |= other.contents
        self.numbers += other.numbers
        self.drafts += other.drafts
        which = [len(self.layouts) + number for number in other.which]
        for name in _MEMBERS:
            getattr(self, name).extend(which if name == "which" else getattr(other, name))
        self.layouts += other.layouts
        self.size += other.size
        self.size_of_contents += other.size_of_contents

    @property
    def size_of_headers(self) -> int:
        """Bytes of its headers, which `size` counts, too."""
        return sum(map(len, self.own)) + sum([layout.size for layout in self.layouts])

    def without(self, ranks: Container[int]) -> "Pile":
        """The pile without the records of these ranks."""
        kept = [rank for rank in range(len(self)) if rank not in ranks]
        ends = self._ends()
        return self._picked(lambda some: [some[rank] for rank in kept], sum(ends[rank] - (ends[rank - 1] if rank else 0) for rank in kept))

    def cut(self, largest: int) -> Iterator["Pile"]:
        """As many piles as its records need, in order. largest: bytes that a record may have. Raises TooLarge."""
        ends = self._ends()
        if ends[-1] + sum(self.lengths) + sum([layout.size for layout in self.layouts]) > largest:
            self._check(largest)
        begin = before = 0
        while begin < len(self):
            end = max(begin + 1, min(begin + MOST_RECORDS, bisect_right(ends, before + MOST_BYTES)))
            yield self._picked(itemgetter(slice(begin, end)), ends[end - 1] - before)
            begin, before = end, ends[end - 1]

    def _ends(self) -> list[int]:
        """Where the parts of each record end, counted from those of the first. Layouts count where they are several."""
        sizes = [map(len, some) for some in (self.onces, self.keys, self.own, self.lasts)]
        if len(self.layouts) > 1:
            sizes.append(map([layout.size for layout in self.layouts].__getitem__, self.which))
        return list(accumulate(map(sum, zip(*sizes, strict=True))))

    def _check(self, largest: int) -> None:
        for draft in self.drafts:
            size = len(draft.value) + len(draft.key or b"") + sum(len(name) + len(value) for name, value in draft.headers)
            if size > largest:
                raise TooLarge(f"a record of {size} bytes for topic {draft.topic}: the log takes {largest}")

    def _picked(self, pick: Callable[[list[Any]], list[Any]], size: int) -> "Pile":
        """Some of its records, which `pick` takes out of a list of something of each. size: bytes of their parts. Raises ValueError for a
        digest that is no SHA-256."""
        made = Pile(self.slot)
        for name in ("numbers", "drafts", *_MEMBERS):
            setattr(made, name, pick(getattr(self, name)))
        made.layouts = self.layouts.copy()
        if len(self.layouts) > 1:
            used = sorted(set(made.which))
            made.layouts = [self.layouts[number] for number in used]
            made.which = [used.index(number) for number in made.which]
        made.size = size + sum([layout.size for layout in made.layouts])
        if any(made.onces) or any(map(SHARED.__and__, made.flags)):
            made._mark()
        return made

    def _mark(self) -> None:
        for rank, (draft, once) in enumerate(zip(self.drafts, self.onces, strict=True)):
            digest = draft.digest
            if digest is not None:
                if len(digest) != DIGEST_BYTES:
                    raise ValueError(f"a digest of {len(digest)} bytes is no SHA-256")
                self.contents[digest] = draft.value
                self.size_of_contents += len(draft.value)
            if digest is not None or once:
                self.marks.append(Mark(rank, digest, once or None))

    def batch(self, first: int, time: int, places: Mapping[bytes, int]) -> BatchRow:
        """The row, its first record having that id. places: where the values that came with a digest lie in the table contents."""
        text = text_of(self.layouts)
        entries = zip(self.flags, self.which, map(len, self.onces), map(len, self.keys), map(len, self.own), self.lengths, strict=True)
        head = struct.pack(f"<{2 + 6 * len(self)}I", len(self), len(text), *chain.from_iterable(entries))
        lasts = self.lasts
        if any(map(SHARED.__and__, self.flags)):
            lasts = [_REFERENCE.pack(last, places[last]) if flags & SHARED else last for flags, last in zip(self.flags, lasts, strict=True)]
        parts = chain.from_iterable(zip(self.onces, self.keys, self.own, lasts, strict=True))
        return BatchRow(first, time, self.live, b"".join((head, text, *parts)))


def _pile(slot: int, numbers: Sequence[int], drafts: Sequence[Draft]) -> Pile:
    """A pile of drafts of a slot, one at least, without marks and sizes. An empty unique id is none."""
    _, keys, values, headers, _, carried, digests, uniques = zip(*drafts, strict=True)
    made = Pile(slot)
    made.numbers, made.drafts = [*numbers], [*drafts]
    made.layouts, made.which, own = encode(headers)
    made.own = [*own]
    made.onces = [unique or b"" for unique in uniques]
    made.keys = [key or b"" for key in keys]
    made.lengths = [*map(len, values)]
    made.flags = [CARRIED | KEYED if one else KEYED for one in carried]
    if None in keys:
        made.flags = [flags & ~KEYED if key is None else flags for flags, key in zip(made.flags, keys, strict=True)]
    made.lasts = [*values]
    if digests.count(None) < len(digests):
        made.flags = [flags if digest is None else flags | SHARED for flags, digest in zip(made.flags, digests, strict=True)]
        made.lasts = [value if digest is None else digest for value, digest in zip(values, digests, strict=True)]
    return made


def pack(drafts: Sequence[Draft], topic_of: Callable[[str], Topic], spread: int, largest: int) -> list[Pile]:
    """The drafts in piles, those of a slot in order; known by their places among the drafts. spread: the partition for drafts with
    neither key nor partition. largest: bytes that value, key and headers may have together. Raises TooLarge, TopicMissing for a
    partition that the topic does not have, and ValueError for a digest that is no SHA-256."""
    slots: dict[tuple[str, int], list[int]] = {}
    topics: dict[str, Topic] = {}
    hashed = hashes(draft.key for draft in drafts if draft.partition is None and draft.key is not None)
    for number, draft in enumerate(drafts):
        name, key, _, _, partition, _, _, _ = draft
        topic = topics.get(name) or topics.setdefault(name, topic_of(name))
        if partition is None:
            partition = (spread if key is None else hashed[key]) % topic.partitions
        slot = slots.get((name, partition))
        if slot is None:
            slots[name, partition] = [number]
        else:
            slot.append(number)
    piles: list[Pile] = []
    for (name, partition), numbers in slots.items():
        pile = _pile(topics[name].slot(partition), numbers, [drafts[number] for number in numbers])
        piles += pile.cut(largest)
    return piles


Entry = tuple[int, int, Layout, int, int, int, int, int]
"""A record in a body: its id, its flags, its headers' layout, where its unique id, its key, its own headers, and its value or digest begin,
and the bytes of its value. No NamedTuple, because it costs as much again to build one for each record that is read."""

AROUND = """SELECT first, time, live, body FROM batches
    WHERE first IN (SELECT (SELECT max(first) FROM batches WHERE first <= value) FROM json_each(?))"""
"""The batches that hold the records of these ids, a JSON list. For an id that is not there, one that does not hold it may come."""


def entries(first: int, body: bytes) -> Iterator[Entry]:
    """The records in a body, in order, without those that are GONE. Raises Fatal where it is none."""
    number = first
    try:
        count, length = _HEAD.unpack_from(body)
        begin = _HEAD.size + count * _ENTRY.size
        at = begin + length
        layouts = layouts_in(body[begin:at])
        for flags, layout, once, key, headers, size in _ENTRY.iter_unpack(memoryview(body)[_HEAD.size : begin]):
            named = at + once
            headed = named + key
            last = headed + headers
            behind = last + (_REFERENCE.size if flags & SHARED else size)
            if behind > len(body):
                raise struct.error("it is cut short")
            if not flags & GONE:
                yield number, flags, layouts[layout], at, named, headed, last, size
            at = behind
            number += 1
        if number != first + count:
            raise struct.error("it has fewer records than it says")
    except (struct.error, ValueError, IndexError) as error:
        raise Fatal(f"the batch of records from id {first} on is damaged ({error}); restore the log from a copy") from error


def reference_in(body: bytes, entry: Entry) -> tuple[bytes, int]:
    """The digest of a record that is SHARED, and where its value lies."""
    *_, last, _ = entry
    found: tuple[bytes, int] = _REFERENCE.unpack_from(body, last)
    return found


def once_in(body: bytes, entry: Entry) -> bytes | None:
    """The unique id of a record."""
    _, _, _, at, named, *_ = entry
    return body[at:named] or None


def record_in(topic: str, time: int, body: bytes, entry: Entry, contents: Mapping[bytes, bytes] | None) -> Record:
    """A record of that topic. time: its batch's, in ms. contents: the values of those that are SHARED, by digest; None leaves all values
    and digests out."""
    number, flags, layout, _, named, headed, last, size = entry
    value, digest = b"", None
    if contents is not None:
        if flags & SHARED:
            digest = body[last : last + DIGEST_BYTES]
            value = contents[digest]
        else:
            value = body[last : last + size]
    return Record(
        topic,
        partition_of(number >> OFFSET_BITS),
        number & MAX_OFFSET,
        time,
        body[named:headed] if flags & KEYED else None,
        value,
        layout.decode(body, headed, last),
        flags & CARRIED != 0,
        digest,
    )


def revised(row: BatchRow, changes: Mapping[int, Revision | None]) -> list[BatchRow]:
    """What becomes of a batch with the records of these ids changed, or without them (None): none, or several where values have grown.
    Those that go from the beginning or the end leave nothing behind, others an entry that is GONE."""
    made: list[tuple[int, Pile]] = []
    places: dict[bytes, int] = {}
    behind = row.first
    for entry in entries(row.first, row.body):
        number, flags, layout, at, named, headed, end, size = entry
        change = changes.get(number)
        if change is not None:
            (layout,), _, (own,) = encode([change.headers])
            flags, last, size = flags & ~SHARED, change.value, len(change.value)
        elif number in changes:
            continue
        else:
            own, last = row.body[headed:end], row.body[end : end + size]
            if flags & SHARED:
                last, places[last] = reference_in(row.body, entry)
        once, key = row.body[at:named], row.body[named:headed]
        if not made or not made[-1][1].takes(number - behind + 1, len(once) + len(key) + len(own) + len(last)):
            made.append((number, Pile(row.first >> OFFSET_BITS)))
        else:
            for gone in range(behind, number):
                made[-1][1].put(gone, GONE | CARRIED, b"", b"", NONE, b"", b"", 0)
        made[-1][1].put(number, flags, once, key, layout, own, last, size)
        behind = number + 1
    return [pile.batch(first, row.time, places) for first, pile in made]
