"""Taking records out of the file: those that are erased, and those that are older than what is to be kept."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, flock
from os import close
from pathlib import Path
from typing import Any

from streams.log import Revision
from streams.sqlite import schema
from streams.sqlite.batches import KEEP, SHARED, Batch, digest_in, entries, once_in, revised
from streams.sqlite.border import border
from streams.sqlite.slots import OFFSET_BITS, ranges, topic_of

STEP_RECORDS = 500
STEP_BYTES = 8 << 20
"""What goes in one step of `trim`: the transaction is then as short as a worker's commit."""


def revise(connection: sqlite3.Connection, changes: Mapping[int, Revision | None]) -> None:
    """Changes the records of these ids, or drops them (None), within the writer's transaction. What they held is overwritten."""
    with _overwriting(connection):
        _revise(connection, _batches(connection, _AROUND, (json.dumps(list(changes)),)), changes)


def trim(connection: sqlite3.Connection, slot: int, before: int) -> int:
    """Drops the first records of a slot, as far as they were appended before that time (ms) and all groups have passed them, in the
    writer's transaction. Returns how many; a step's worth at most."""
    first, end = connection.execute("SELECT first, next FROM heads WHERE slot = ?", (slot,)).fetchone()
    (passed,) = connection.execute("SELECT min(offset) FROM standings WHERE slot = ?", (slot,)).fetchone()
    low, high = ranges(slot, first, end if passed is None else min(passed, end))
    size = 0
    batches: list[Batch] = []
    dropped: list[int] = []
    for batch in _batches(connection, _FROM, (low, high)):
        expired = [entry for entry in entries(batch.first, batch.body) if entry[0] < high]
        if batch.time >= before or size >= STEP_BYTES or len(dropped) + len(expired) > STEP_RECORDS:
            break
        batches.append(batch)
        dropped += [number for number, *_ in expired]
        size += sum(value for *_, value in expired)
    if dropped:
        _revise(connection, batches, dict.fromkeys(dropped))
        connection.execute("UPDATE heads SET first = ? WHERE slot = ?", (first + dropped[-1] + 1 - low, slot))
    return len(dropped)


def _batches(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[Batch]:
    return (Batch(*row) for row in connection.execute(query, values))


def _revise(connection: sqlite3.Connection, batches: Iterable[Batch], changes: Mapping[int, Revision | None]) -> None:
    onces: list[tuple[int, bytes | None, int]] = []
    shared: list[tuple[bytes, int]] = []
    after: list[tuple[int, Batch | None]] = []
    for batch in batches:
        for entry in entries(batch.first, batch.body):
            number, flags, *_ = entry
            if number in changes and flags & SHARED:
                shared.append((digest_in(batch.body, entry), number))
            if changes.get(number, KEEP) is None:
                onces.append((topic_of(number >> OFFSET_BITS), once_in(batch.body, entry), number))
        after.append((batch.first, revised(batch, changes)))
    connection.executemany("DELETE FROM batches WHERE first = ?", [(first,) for first, batch in after if batch is None])
    kept = [(batch.first, batch.live, batch.body, first) for first, batch in after if batch is not None]
    connection.executemany("UPDATE batches SET first = ?, live = ?, body = ? WHERE first = ?", kept)
    connection.executemany("DELETE FROM onces WHERE topic = ? AND once = ? AND id = ?", onces)
    connection.executemany(_DROP_REFERRER, shared)
    connection.executemany(_DROP_CONTENT, [(digest,) for digest, _ in shared])


def scrub(path: Path) -> bool:
    """Moves the write-ahead log into the main file and empties it. False where a reader kept it from that."""
    with border(path), closing(schema.connect(path, write=True)) as connection:
        lock = schema.open_lock(path)
        try:
            flock(lock, LOCK_EX)
            (blocked, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            close(lock)
    return not blocked


@contextmanager
def _overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """What is deleted is overwritten with zeros, pages that become free included (https://www.sqlite.org/pragma.html#pragma_secure_delete)."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {('OFF', 'ON', 'FAST')[before]}").fetchone()


_AROUND = """SELECT first, time, live, body FROM batches
    WHERE first IN (SELECT (SELECT max(first) FROM batches WHERE first <= value) FROM json_each(?))"""
_FROM = "SELECT first, time, live, body FROM batches WHERE first >= ? AND first < ? ORDER BY first"
_DROP_REFERRER = "DELETE FROM referrers WHERE content = (SELECT id FROM contents WHERE digest = ?) AND id = ?"
_DROP_CONTENT = "DELETE FROM contents WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM referrers WHERE content = contents.id)"
