"""What the records of a log say that the archive has: 8 bytes a reference, in 256 heaps, so that sorting one takes little more."""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Self

from postroom.reading import glance
from streams.record import Record
from topology.replies.stow import ARCHIVED

_ARCHIVED = re.compile(rb'"archived":"sha256:([0-9a-f]{64})"')
"""No text of a mail can counterfeit that: within a JSON string a quotation mark has a backslash before it."""
_REFERENCE = re.compile(rb"sha256:([0-9a-f]{64})")
_MAIL = re.compile(rb'"mail_id":"([0-9a-f]{32})"')


class Digests:
    """A set of SHA-256 digests by their first 72 bits. Repeats take room until `sort`, which is called between adding and asking."""

    def __init__(self) -> None:
        self._heaps = [array("Q") for _ in range(256)]

    def add(self, digest: str) -> None:
        """Notes a digest, hex."""
        self._heaps[int(digest[:2], 16)].append(int(digest[2:18], 16))

    def sort(self) -> None:
        """Makes ready for `find`."""
        for number, heap in enumerate(self._heaps):
            self._heaps[number] = array("Q", sorted(set(heap)))

    def find(self, digest: str) -> tuple[int, int] | None:
        """Where a digest stands: its heap, and its place there. None where it is not."""
        number, rest = int(digest[:2], 16), int(digest[2:18], 16)
        heap = self._heaps[number]
        place = bisect_left(heap, rest)
        return (number, place) if place < len(heap) and heap[place] == rest else None

    def sizes(self) -> list[int]:
        """How many each heap has."""
        return [len(heap) for heap in self._heaps]

    def each(self) -> Iterator[tuple[int, int, str]]:
        """Heap, place, and the first 18 hex digits of each."""
        for number, heap in enumerate(self._heaps):
            for place, rest in enumerate(heap):
                yield number, place, f"{number:02x}{rest:016x}"

    def __len__(self) -> int:
        return sum(self.sizes())

    def __iadd__(self, other: "Digests") -> Self:
        """Takes in those of another."""
        for mine, heap in zip(self._heaps, other._heaps, strict=True):
            mine.extend(heap)
        return self


class References:
    """held: what any record refers to. needed: what a mail on mail.raw has there, and only there, erased ones left out."""

    def __init__(self) -> None:
        self.held = Digests()
        self.needed = Digests()

    def hold(self, record: Record) -> None:
        """Notes what a record refers to, be it the mail or a message of ours."""
        if digest := archived(glance.facts_bytes(record)):
            self.held.add(digest)
        if known := _REFERENCE.fullmatch(record.header(ARCHIVED) or b""):
            self.held.add(known[1].decode())

    def __iadd__(self, other: "References") -> Self:
        """Takes in what another process has noted."""
        self.held += other.held
        self.needed += other.needed
        return self


def archived(facts: bytes | None) -> str | None:
    """The digest, hex, under which the archive has the mail; None where its record has it."""
    found = _ARCHIVED.search(facts) if facts else None
    return found[1].decode() if found else None


def mail_id(facts: bytes | None) -> bytes | None:
    """The mail id in facts, hex."""
    found = _MAIL.search(facts) if facts else None
    return found[1] if found else None
