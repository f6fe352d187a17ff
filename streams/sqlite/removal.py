"""Taking records out of the file: those that are erased, and those that are older than what is to be kept."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, flock
from os import close
from pathlib import Path

from streams.log import Revision
from streams.sqlite import schema
from streams.sqlite.batches import AROUND, SHARED, BatchRow, entries, once_in, reference_in, revised
from streams.sqlite.border import border
from streams.sqlite.slots import OFFSET_BITS, ranges, topic_of

STEP_RECORDS = 500
STEP_BYTES = 8 << 20
"""What goes in one step of `trim`: the transaction is then as short as a worker's commit."""


def revise(connection: sqlite3.Connection, changes: Mapping[int, Revision | None]) -> None:
    """Changes the records of these ids, or drops them (None), within the writer's transaction. What they held is overwritten. Each group
    gets another version, so that whoever keeps records in memory forgets them."""
    connection.execute("UPDATE groups SET version = version + 1")
    with _overwriting(connection):
        _revise(connection, [BatchRow(*row) for row in connection.execute(AROUND, (json.dumps(list(changes)),))], changes)


def trim(connection: sqlite3.Connection, slot: int, before: int) -> int:
    """Drops the first records of a slot, as far as they were appended before that time (ms) and all groups have passed them, in the
    writer's transaction. Returns how many; a step's worth at most."""
    first, end = connection.execute("SELECT first, next FROM heads WHERE slot = ?", (slot,)).fetchone()
    (passed,) = connection.execute("SELECT min(offset) FROM standings WHERE slot = ?", (slot,)).fetchone()
    low, high = ranges(slot, first, end if passed is None else min(passed, end))
    size = 0
    rows: list[BatchRow] = []
    dropped: list[int] = []
    with closing(connection.execute(_FROM, (low, high))) as found:
        for row in map(BatchRow._make, found):
            if row.time >= before:
                break
            rows.append(row)
            for number, *_, length in entries(row.first, row.body):
                if number >= high or len(dropped) == STEP_RECORDS or size >= STEP_BYTES:
                    break
                dropped.append(number)
                size += length
            else:
                continue
            break
    if dropped:
        _revise(connection, rows, dict.fromkeys(dropped))
        connection.execute("UPDATE heads SET first = ? WHERE slot = ?", (first + dropped[-1] + 1 - low, slot))
    return len(dropped)


def _revise(connection: sqlite3.Connection, rows: Iterable[BatchRow], changes: Mapping[int, Revision | None]) -> None:
    onces: list[tuple[int, bytes | None, int]] = []
    shared: list[tuple[int, int]] = []
    for row in rows:
        touched = [entry for entry in entries(row.first, row.body) if entry[0] in changes]
        if not touched:  # the row before an id that is not there
            continue
        for entry in touched:
            number, flags, *_ = entry
            if flags & SHARED:
                shared.append((reference_in(row.body, entry)[1], number))
            if changes[number] is None:
                onces.append((topic_of(number >> OFFSET_BITS), once_in(row.body, entry), number))
        connection.execute("DELETE FROM batches WHERE first = ?", (row.first,))
        connection.executemany("INSERT INTO batches (first, time, live, body) VALUES (?, ?, ?, ?)", revised(row, changes))
    connection.executemany("DELETE FROM onces WHERE topic = ? AND once = ? AND id = ?", onces)
    connection.executemany(_DROP_REFERRER, shared)
    connection.executemany(_DROP_CONTENT, [(content,) for content, _ in shared])


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


_FROM = "SELECT first, time, live, body FROM batches WHERE first >= ? AND first < ? ORDER BY first"
_DROP_REFERRER = "DELETE FROM referrers WHERE content = ? AND id = ?"
_DROP_CONTENT = "DELETE FROM contents WHERE id = ? AND NOT EXISTS (SELECT 1 FROM referrers WHERE content = contents.id)"
