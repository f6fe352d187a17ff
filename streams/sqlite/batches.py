"""Record batches: many records of a slot in one row, as they lie in a segment of Kafka.

With a row a record, most of an append went into rows and not into bytes: placing the four records of a mail took SQLite 36 µs, and takes
10 as parts of batches. What one transaction brings a slot becomes one batch, up to a size from which reading a single record of it would
cost too much. Batches are made a member at a time and not a record at a time, for the same reason.
"""

import struct
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from streams.errors import Fatal, TooLarge
from streams.log import Revision
from streams.record import Draft, Record
from streams.sqlite.headers import NONE, Layout, encode, layouts_in, sizes, text_of
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


def _fits(records: int, size: int) -> bool:
    return records <= MOST_RECORDS and size <= MOST_BYTES


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


class Pile:
    """Drafts for one slot, in order, of which a batch will be made.

    numbers: what the caller knows each of them by. marks: of those that have a digest or a unique id. contents: the values that came with
    a digest. size: about the bytes of the body; size_of_headers: those of them that are headers; size_of_contents: of the contents, each
    time that they occur. Raises ValueError for a digest that is no SHA-256."""

    __slots__ = ("contents", "drafts", "marks", "numbers", "size", "size_of_contents", "size_of_headers", "slot")

    def __init__(self, slot: int, numbers: list[int], drafts: list[Draft], size: int, size_of_headers: int) -> None:
        self.slot = slot
        self.numbers = numbers
        self.drafts = drafts
        self.marks: list[Mark] = []
        self.contents: dict[bytes, bytes] = {}
        self.size = size
        self.size_of_headers = size_of_headers
        self.size_of_contents = 0
        for rank, draft in enumerate(drafts):
            _, _, value, _, _, _, digest, once = draft
            if digest is not None:
                if len(digest) != DIGEST_BYTES:
                    raise ValueError(f"a digest of {len(digest)} bytes is no SHA-256")
                self.contents[digest] = value
                self.size_of_contents += len(value)
                self.marks.append(Mark(rank, digest, once or None))
            elif once:
                self.marks.append(Mark(rank, None, once))

    def __len__(self) -> int:
        """Its records."""
        return len(self.numbers)

    def takes(self, records: int, size: int) -> bool:
        """Whether so many more records, of so many bytes together, belong to the same batch."""
        return _fits(len(self) + records, self.size + size)

    def extend(self, other: "Pile") -> None:
        """Puts the drafts of another pile of the slot, maybe another caller's, behind its own."""
        self.marks += [Mark(len(self) + rank, digest, once) for rank, digest, once in other.marks]
        self.contents |= other.contents
        self.numbers += other.numbers
        self.drafts += other.drafts
        self.size += other.size
        self.size_of_headers += other.size_of_headers
        self.size_of_contents += other.size_of_contents

    def without(self, ranks: Container[int]) -> "Pile":
        """The pile without the drafts of these ranks; its sizes stay."""
        kept = [rank for rank in range(len(self)) if rank not in ranks]
        drafts = [self.drafts[rank] for rank in kept]
        return Pile(self.slot, [self.numbers[rank] for rank in kept], drafts, self.size, self.size_of_headers)

    def batch(self, first: int, time: int, places: Mapping[bytes, int]) -> BatchRow:
        """The row, its first record having that id. places: where the values that came with a digest lie in the table contents."""
        _, keys, values, headers, _, carried, digests, uniques = zip(*self.drafts, strict=True)
        flags = [CARRIED | KEYED if one else KEYED for one in carried]
        if None in keys:
            flags = [one & ~KEYED if key is None else one for one, key in zip(flags, keys, strict=True)]
        lasts: Sequence[bytes] = values
        if digests.count(None) < len(digests):
            flags = [one if digest is None else one | SHARED for one, digest in zip(flags, digests, strict=True)]
            lasts = [
                value if digest is None else _REFERENCE.pack(digest, places[digest]) for value, digest in zip(values, digests, strict=True)
            ]
        layouts, which, own = encode(headers)
        onces = [unique or b"" for unique in uniques]
        return _row(first, time, layouts, _Members(flags, which, onces, [key or b"" for key in keys], own, lasts, [*map(len, values)]))


class _Members(NamedTuple):
    """What the body has of each record, see BatchRow: which is the number of its layout, own what it has of the headers for itself, last
    its value or the reference to it, length that of the value."""

    flags: Sequence[int]
    which: Sequence[int]
    onces: Sequence[bytes]
    keys: Sequence[bytes]
    own: Sequence[bytes]
    lasts: Sequence[bytes]
    lengths: Sequence[int]


def _row(first: int, time: int, layouts: Sequence[Layout], members: _Members) -> BatchRow:
    flags, which, onces, keys, own, lasts, lengths = members
    text = text_of(layouts)
    entries = zip(flags, which, map(len, onces), map(len, keys), map(len, own), lengths, strict=True)
    head = struct.pack(f"<{2 + 6 * len(flags)}I", len(flags), len(text), *chain.from_iterable(entries))
    parts = chain.from_iterable(zip(onces, keys, own, lasts, strict=True))
    return BatchRow(first, time, int(not all(map(CARRIED.__and__, flags))), b"".join((head, text, *parts)))


def pack(drafts: Sequence[Draft], topic_of: Callable[[str], Topic], spread: int, largest: int) -> list[Pile]:
    """The drafts in piles, those of a slot in order; known by their places among the drafts. spread: the partition for drafts with
    neither key nor partition. largest: bytes that value, key and headers may have together. Raises TooLarge, TopicMissing for a
    partition that the topic does not have, and ValueError for a digest that is no SHA-256."""
    slots: dict[tuple[str, int], list[int]] = {}
    topics: dict[str, Topic] = {}
    hashed = hashes([draft.key for draft in drafts if draft.partition is None and draft.key is not None])
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
    return [
        pile
        for (name, partition), numbers in slots.items()
        for pile in _piles(topics[name].slot(partition), numbers, [drafts[number] for number in numbers], largest)
    ]


def _piles(slot: int, numbers: list[int], drafts: list[Draft], largest: int) -> Iterator[Pile]:
    """Drafts of a slot in as many piles as they need."""
    alike, own = sizes([draft.headers for draft in drafts])
    begin = size = headers = 0
    for rank, (draft, size_of_headers) in enumerate(zip(drafts, own, strict=True)):
        _, key, value, _, _, _, digest, _ = draft
        part = size_of_headers + (len(key) if key else 0)
        if alike + part + len(value) > largest:
            raise TooLarge(f"a record of {alike + part + len(value)} bytes for topic {draft.topic}: the log takes {largest}")
        part += len(value) if digest is None else _REFERENCE.size
        if rank > begin and not _fits(rank - begin + 1, size + part):
            yield Pile(slot, numbers[begin:rank], drafts[begin:rank], alike + size, alike + headers)
            begin, size, headers = rank, 0, 0
        size += part
        headers += size_of_headers
    yield Pile(slot, numbers[begin:], drafts[begin:], alike + size, alike + headers)


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
    made: list[_Revised] = []
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
            own, last = row.body[headed:end], row.body[end : end + (_REFERENCE.size if flags & SHARED else size)]
        once, key = row.body[at:named], row.body[named:headed]
        if not made or not made[-1].takes(number - behind + 1, len(once) + len(key) + len(own) + len(last)):
            made.append(_Revised(number))
        else:
            for _ in range(behind, number):
                made[-1].put(GONE | CARRIED, b"", b"", NONE, b"", b"", 0)
        made[-1].put(flags, once, key, layout, own, last, size)
        behind = number + 1
    return [one.row(row.time) for one in made]


class _Revised:
    """A batch that is made of another's records. first: the id of its first."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._layouts: list[Layout] = []
        self._records: list[tuple[int, int, bytes, bytes, bytes, bytes, int]] = []
        self._size = 0

    def takes(self, records: int, size: int) -> bool:
        return _fits(len(self._records) + records, self._size + size)

    def put(self, flags: int, once: bytes, key: bytes, layout: Layout, own: bytes, last: bytes, length: int) -> None:
        if layout not in self._layouts:
            self._layouts.append(layout)
            self._size += layout.size
        self._records.append((flags, self._layouts.index(layout), once, key, own, last, length))
        self._size += len(once) + len(key) + len(own) + len(last)

    def row(self, time: int) -> BatchRow:
        return _row(self._first, time, self._layouts, _Members(*zip(*self._records, strict=True)))
