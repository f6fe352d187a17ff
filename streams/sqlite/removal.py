"""Taking records out of the file: those that are erased, and those that are older than what is to be kept."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, flock
from os import close
from pathlib import Path

from streams.log import Revision
from streams.sqlite import schema
from streams.sqlite.border import border
from streams.sqlite.rows import encode_headers, ranges

STEP_ROWS = 500
STEP_BYTES = 8 << 20
"""What goes in one step of `trim`: the transaction is then as short as a worker's commit."""


def revise(connection: sqlite3.Connection, changes: Mapping[int, Revision | None]) -> None:
    """Changes the rows of these ids, or drops them (None), within the writer's transaction. What they held is overwritten."""
    ids = json.dumps(list(changes))
    with _overwriting(connection):
        contents = connection.execute(_CONTENTS_OF, (ids,)).fetchall()
        dropped = [number for number, change in changes.items() if change is None]
        connection.execute("DELETE FROM records WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(dropped),))
        kept = [(change.value, encode_headers(change.headers), number) for number, change in changes.items() if change is not None]
        connection.executemany("UPDATE records SET value = ?, headers = ?, content = NULL WHERE id = ?", kept)
        _drop_contents(connection, [content for (content,) in contents])


def trim(connection: sqlite3.Connection, slot: int, before: int) -> int:
    """Drops the first records of a slot, as far as they were appended before that time (ms) and all groups have passed them, in the
    writer's transaction. Returns how many; a step's worth at most."""
    first, end = connection.execute("SELECT first, next FROM heads WHERE slot = ?", (slot,)).fetchone()
    (passed,) = connection.execute("SELECT min(offset) FROM standings WHERE slot = ?", (slot,)).fetchone()
    low, high = ranges(slot, first, end if passed is None else min(passed, end))
    behind, count, size = low, 0, 0
    contents = []
    for number, time, content, length in connection.execute(_FIRST, (low, high, STEP_ROWS)):
        if time >= before or size >= STEP_BYTES:
            break
        behind, count, size = number + 1, count + 1, size + length
        contents.append(content)
    if count:
        connection.execute("DELETE FROM records WHERE id >= ? AND id < ?", (low, behind))
        connection.execute("UPDATE heads SET first = ? WHERE slot = ?", (first + behind - low, slot))
        _drop_contents(connection, contents)
    return count


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


def _drop_contents(connection: sqlite3.Connection, contents: list[int | None]) -> None:
    """Drops those of these contents that no record refers to any more."""
    connection.execute(_DROP_CONTENTS, (json.dumps([content for content in contents if content is not None]),))


_CONTENTS_OF = "SELECT DISTINCT content FROM records WHERE id IN (SELECT value FROM json_each(?)) AND content IS NOT NULL"
_DROP_CONTENTS = """DELETE FROM contents WHERE id IN (SELECT value FROM json_each(?))
    AND NOT EXISTS (SELECT 1 FROM records WHERE records.content = contents.id)"""
# The length of a value is known without reading it.
_FIRST = """SELECT r.id, r.time, r.content, length(coalesce(r.value, c.value)) FROM records r LEFT JOIN contents c ON c.id = r.content
    WHERE r.id >= ? AND r.id < ? ORDER BY r.id LIMIT ?"""
