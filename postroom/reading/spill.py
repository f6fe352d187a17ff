"""What fsck notes of the records it reads, sorted into buckets of neighbouring mails: in memory up to a bound, then in files.

A note is three 64-bit numbers (see `postroom.reading.notes`). Several processes write notes of one bucket, each to a file of its own.
"""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streams.errors import Full

BITS = 16
"""A bucket has the mails of 65,536 raw offsets: judging it takes some 20 MB."""

MOST = 1 << 20
"""Notes that stay in memory: 24 MiB."""


class Bucket(NamedTuple):
    """A stretch of a raw partition: the offsets from `number << BITS` on."""

    partition: int
    number: int


class Spill:
    """folder: where the files go. most: notes that are kept in memory. Raises Full where a file cannot be written."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder
        self._most = most
        self._count = 0
        self._heaps: dict[tuple[int, int], array[int]] = {}

    def note(self, partition: int, offset: int, note: tuple[int, int, int]) -> None:
        """Notes something of the mail at that raw offset."""
        at = (partition, offset >> BITS)
        heap = self._heaps.get(at)
        if heap is None:
            heap = self._heaps[at] = array("Q")
        heap.extend(note)
        self._count += 1
        if self._count >= self._most:
            self.flush()

    def flush(self) -> None:
        """Writes what is in memory to the files, so that others can take it."""
        try:
            for (partition, number), heap in self._heaps.items():
                with (self._folder / f"{partition}-{number}.{os.getpid()}").open("ab") as file:
                    heap.tofile(file)
        except OSError as error:
            raise Full(f"{self._folder}: no room for what fsck notes: {error}; TMPDIR names another folder") from error
        self._heaps = {}
        self._count = 0

    def take(self, bucket: Bucket) -> "Iterator[array[int]]":
        """The notes of a bucket: those that are in memory here, and those that anybody has written."""
        for path in sorted(self._folder.glob(f"{bucket.partition}-{bucket.number}.*")):
            heap = array("Q")
            with path.open("rb") as file:
                heap.frombytes(file.read())
            yield heap
        if (kept := self._heaps.get(bucket)) is not None:
            yield kept
