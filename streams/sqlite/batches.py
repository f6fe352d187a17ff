"""Record batches: many records of a slot in one row, as they lie in a segment of Kafka.

With a row a record, most of an append went into rows and not into bytes: placing the four records of a mail took SQLite 36 µs, and takes
10 as parts of batches. What one transaction brings a slot becomes one batch, up to a size from which reading a single record of it would
cost too much.
"""

import struct
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.errors import Fatal, TooLarge
from streams.log import Revision
from streams.record import Draft, Record
from streams.sqlite.headers import decode_headers, encode_headers
from streams.sqlite.slots import MAX_OFFSET, OFFSET_BITS, Topic, cached_partition, partition_of

MOST_RECORDS = 64
MOST_BYTES = 64 << 10
"""What a batch has at most, but for one record that is larger alone. Values that came with a digest do not count: they lie elsewhere."""

CARRIED, KEYED, SHARED, GONE = 1, 2, 4, 8
"""Flags of a record: it is carried; it has a key; its value lies in the table contents, and its digest here; it was erased."""

DIGEST_BYTES = 32

_COUNT = struct.Struct("<I")
_ENTRY = struct.Struct("<5I")
"""Of each record: the flags, and the bytes of unique id, key, headers and value."""


class BatchRow(NamedTuple):
    """first: the id of its first record, which those of the others follow. time: of all its records, in ms. live: 1 if one of them is
    not carried. body: their number, their entries, then unique id, key, headers, and value or digest of each. The first and the last
    record are never GONE, so that a partition begins where its first row does."""

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
    """Records of one slot, in order, of which a batch will be made.

    numbers: what the caller knows each of them by. drafts: the records themselves, where they were added as such. marks: of those that
    have a digest or a unique id. contents: the values that came with a digest. live: see BatchRow. size: bytes of parts. entries, parts:
    what the body will be made of, all records' one after the other."""

    __slots__ = ("contents", "drafts", "entries", "live", "marks", "numbers", "parts", "size", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.numbers: list[int] = []
        self.drafts: list[Draft] = []
        self.marks: list[Mark] = []
        self.contents: dict[bytes, bytes] = {}
        self.live = 0
        self.size = 0
        self.entries: list[int] = []
        self.parts: list[bytes] = []

    def __len__(self) -> int:
        """Its records."""
        return len(self.numbers)

    @property
    def size_of_headers(self) -> int:
        """Bytes of their headers together, which `size` counts, too."""
        return sum(self.entries[3::5])

    def takes(self, records: int, size: int) -> bool:
        """Whether so many more records, of so many bytes together, belong to the same batch."""
        return not self.numbers or (len(self.numbers) + records <= MOST_RECORDS and self.size + size <= MOST_BYTES)

    def add(self, number: int, draft: Draft, headers: bytes) -> None:
        """headers: the draft's, encoded. An empty unique id is none. Raises ValueError for a digest that is no SHA-256."""
        _, key, value, _, _, carried, digest, unique = draft
        flags = CARRIED if carried else 0
        if key is not None:
            flags |= KEYED
        last = value
        if digest is not None or unique:
            self.marks.append(Mark(len(self.numbers), digest, unique or None))
            if digest is not None:
                if len(digest) != DIGEST_BYTES:
                    raise ValueError(f"a digest of {len(digest)} bytes is no SHA-256")
                self.contents[digest] = value
                flags |= SHARED
                last = digest
        self.drafts.append(draft)
        self.put(number, flags, unique or b"", key or b"", headers, last, len(value))

    def put(self, number: int, flags: int, once: bytes, key: bytes, headers: bytes, last: bytes, size: int) -> None:
        """last: the value, or the digest of one that is SHARED. size: bytes of the value."""
        if not flags & CARRIED:
            self.live = 1
        self.numbers.append(number)
        self.entries += (flags, len(once), len(key), len(headers), size)
        self.parts += (once, key, headers, last)
        self.size += len(once) + len(key) + len(headers) + len(last)

    def extend(self, other: "Pile") -> None:
        """Puts the records of another pile of the slot, maybe another caller's, behind its own."""
        self.marks += [mark._replace(rank=len(self) + mark.rank) for mark in other.marks]
        self.contents |= other.contents
        self.numbers += other.numbers
        self.drafts += other.drafts
        self.entries += other.entries
        self.parts += other.parts
        self.live |= other.live
        self.size += other.size

    def without(self, ranks: Container[int]) -> "Pile":
        """The pile without the records of these ranks."""
        left = Pile(self.slot)
        marks = {mark.rank: mark for mark in self.marks}
        for rank, number in enumerate(self.numbers):
            if rank in ranks:
                continue
            if mark := marks.get(rank):
                left.marks.append(mark._replace(rank=len(left)))
                if mark.digest is not None:
                    left.contents[mark.digest] = self.contents[mark.digest]
            left.drafts.append(self.drafts[rank])
            flags, *_, size = self.entries[5 * rank : 5 * rank + 5]
            once, key, headers, last = self.parts[4 * rank : 4 * rank + 4]
            left.put(number, flags, once, key, headers, last, size)
        return left

    def batch(self, first: int, time: int) -> BatchRow:
        """The row, its first record having that id."""
        head = struct.pack(f"<{len(self.entries) + 1}I", len(self.numbers), *self.entries)
        return BatchRow(first, time, self.live, b"".join((head, *self.parts)))


def pack(drafts: Sequence[Draft], topic_of: Callable[[str], Topic], spread: int, largest: int) -> list[Pile]:
    """The drafts in piles, those of a slot in order; known by their places among the drafts. spread: the partition for drafts with
    neither key nor partition. largest: bytes that value, key and headers may have together. Raises TooLarge, and TopicMissing for a
    partition that the topic does not have."""
    piles: list[Pile] = []
    last: dict[tuple[str, int], Pile] = {}
    topics: dict[str, Topic] = {}
    for number, draft in enumerate(drafts):
        name, key, value, headers, partition, _, digest, _ = draft
        topic = topics.get(name) or topics.setdefault(name, topic_of(name))
        if partition is None:
            partition = spread % topic.partitions if key is None else cached_partition(key, topic.partitions)
        encoded = encode_headers(headers)
        size = len(value) + (len(key) if key else 0) + len(encoded)
        if size > largest:
            raise TooLarge(f"a record of {size} bytes for topic {name}: the log takes {largest}")
        pile = last.get((name, partition))
        if pile is None or not pile.takes(1, size if digest is None else size - len(value)):
            pile = last[name, partition] = Pile(topic.slot(partition))
            piles.append(pile)
        pile.add(number, draft, encoded)
    return piles


Entry = tuple[int, int, int, int, int, int, int]
"""A record in a body: its id, its flags, where its unique id, its key, its headers, and its value or digest begin, and the bytes of its
value. No NamedTuple, because it costs as much again to build one for each record that is read."""

AROUND = """SELECT first, time, live, body FROM batches
    WHERE first IN (SELECT (SELECT max(first) FROM batches WHERE first <= value) FROM json_each(?))"""
"""The batches that hold the records of these ids, a JSON list. For an id that is not there, one that does not hold it may come."""


def entries(first: int, body: bytes) -> Iterator[Entry]:
    """The records in a body, in order, without those that are GONE. Raises Fatal where it is none."""
    number = first
    try:
        (count,) = _COUNT.unpack_from(body)
        at = _COUNT.size + count * _ENTRY.size
        for flags, once, key, headers, size in _ENTRY.iter_unpack(memoryview(body)[_COUNT.size : at]):
            named = at + once
            headed = named + key
            last = headed + headers
            behind = last + (DIGEST_BYTES if flags & SHARED else size)
            if behind > len(body):
                raise struct.error("it is cut short")
            if not flags & GONE:
                yield number, flags, at, named, headed, last, size
            at = behind
            number += 1
        if number != first + count:
            raise struct.error("it has fewer records than it says")
    except struct.error as error:
        raise Fatal(f"the batch of records from id {first} on is damaged ({error}); restore the log from a copy") from error


def digest_in(body: bytes, entry: Entry) -> bytes:
    """The digest of a record that is SHARED."""
    *_, last, _ = entry
    return body[last : last + DIGEST_BYTES]


def once_in(body: bytes, entry: Entry) -> bytes | None:
    """The unique id of a record."""
    _, _, at, named, *_ = entry
    return body[at:named] or None


def record_in(topic: str, time: int, body: bytes, entry: Entry, contents: Mapping[bytes, bytes] | None) -> Record:
    """A record of that topic. time: its batch's, in ms. contents: the values of those that are SHARED, by digest; None leaves all values
    and digests out."""
    number, flags, _, named, headed, last, size = entry
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
        decode_headers(body, headed) if last > headed else (),
        flags & CARRIED != 0,
        digest,
    )


def revised(row: BatchRow, changes: Mapping[int, Revision | None]) -> list[BatchRow]:
    """What becomes of a batch with the records of these ids changed, or without them (None): none, or several where values have grown.
    Those that go from the beginning or the end leave nothing behind, others an entry that is GONE."""
    made: list[tuple[int, Pile]] = []
    behind = row.first
    for entry in entries(row.first, row.body):
        number, flags, at, named, headed, end, size = entry
        change = changes.get(number)
        if change is not None:
            flags, headers, last, size = flags & ~SHARED, encode_headers(change.headers), change.value, len(change.value)
        elif number in changes:
            continue
        else:
            headers = row.body[headed:end]
            last = digest_in(row.body, entry) if flags & SHARED else row.body[end : end + size]
        once, key = row.body[at:named], row.body[named:headed]
        if not made or not made[-1][1].takes(number - behind + 1, len(once) + len(key) + len(headers) + len(last)):
            made.append((number, Pile(row.first >> OFFSET_BITS)))
        else:
            for gone in range(behind, number):
                made[-1][1].put(gone, GONE | CARRIED, b"", b"", b"", b"", 0)
        made[-1][1].put(number, flags, once, key, headers, last, size)
        behind = number + 1
    return [pile.batch(first, row.time) for first, pile in made]
