"""Storing records inside the writer's transaction.

Every SQLite call gives up Python's interpreter lock, and a thread that computes keeps it for a whole switch interval (5 ms) before
the next call can begin. So the number of calls must not grow with the number of records: each table gets one statement of many rows.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from streams.sqlite.rows import OFFSET_BITS, Row, topic_of


class Placed(NamedTuple):
    """Where a row went: its id. repeat: it was there already."""

    id: int
    repeat: bool


class Heads:
    """The newest offset and time of each slot, as this transaction has them. Kept from one transaction to the next as long as no
    other connection has written."""

    def __init__(self) -> None:
        self._known: dict[int, list[int]] = {}
        self._version = -1

    def begin(self, connection: sqlite3.Connection) -> None:
        """Forgets what another connection may have changed. The transaction must have begun."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._known.clear()
            self._version = version

    def forget(self) -> None:
        """After a rollback."""
        self._known.clear()

    def load(self, connection: sqlite3.Connection, slots: set[int]) -> dict[int, list[int]]:
        """[next, time] of each slot, to be changed in place."""
        missing = slots - self._known.keys()
        if missing:
            query = "SELECT json_group_array(json_array(slot, next, time)) FROM heads WHERE slot IN (SELECT value FROM json_each(?))"
            (found,) = connection.execute(query, (json.dumps(list(missing)),)).fetchone()
            for slot, following, time in json.loads(found):
                self._known[slot] = [following, time]
        return self._known


def store(connection: sqlite3.Connection, heads: Heads, rows: Sequence[Row], now: int) -> list[Placed]:
    """Stores the rows, in order. now: milliseconds since 1970. A time never goes back within a partition. Raises sqlite3.Error,
    after which the transaction must be rolled back."""
    known = _find_repeats(connection, rows)
    slots = {row.slot for row in rows}
    tails = heads.load(connection, slots)
    placed: list[Placed] = []
    contents: dict[bytes, bytes] = {}
    records: list[Any] = []
    for slot, carried, once, key, headers, value, digest in rows:
        if once is not None:
            name = (topic_of(slot), once)
            first = known.get(name)
            if first is not None:
                placed.append(Placed(first, True))
                continue
        tail = tails[slot]
        place = slot << OFFSET_BITS | tail[0]
        tail[0] += 1
        tail[1] = max(tail[1], now)
        if once is not None:
            known[name] = place
        if digest is None:
            records += (place, tail[1], carried, None, once, key, headers, value)
        else:
            contents[digest] = value
            records += (place, tail[1], carried, digest, once, key, headers, None)
        placed.append(Placed(place, False))
    _insert(connection, _CONTENTS, 2, [part for pair in contents.items() for part in pair])
    _insert(connection, _RECORDS, 8, records)
    _insert(connection, _HEADS, 3, [part for slot in slots for part in (slot, *tails[slot])])
    return placed


def _find_repeats(connection: sqlite3.Connection, rows: Sequence[Row]) -> dict[tuple[int, bytes], int]:
    """The ids of the records that bear a unique id of one of these rows already, by topic and unique id."""
    wanted: dict[int, list[bytes]] = {}
    for row in rows:
        if row.once is not None:
            wanted.setdefault(topic_of(row.slot), []).append(row.once)
    found: dict[tuple[int, bytes], int] = {}
    for topic, names in wanted.items():
        for chunk, size in _chunks(names, 1):
            query = _repeats(size)
            (pairs,) = connection.execute(query, (topic, *chunk, *[None] * (size - len(chunk)))).fetchone()
            found.update({(topic, bytes.fromhex(name)): place for name, place in json.loads(pairs).items()})
    return found


@cache
def _repeats(size: int) -> str:
    return f"""SELECT json_group_object(hex(once), id) FROM records INDEXED BY once
        WHERE id >> 50 = ? AND once IS NOT NULL AND once IN ({",".join("?" * size)})"""


_CONTENTS = "INSERT OR IGNORE INTO contents (digest, value) SELECT column1, column2"
_RECORDS = """INSERT INTO records (id, time, carried, content, once, key, headers, value)
    SELECT column1, column2, column3, (SELECT id FROM contents WHERE digest = column4), column5, column6, column7, column8"""
_HEADS = "INSERT INTO heads (slot, first, next, time) SELECT column1, 0, column2, column3"
_HEADS_END = "ON CONFLICT (slot) DO UPDATE SET next = excluded.next, time = excluded.time"

_SIZES = (1, 8, 64, 256)
"""Rows a statement. What is left over is filled up with NULLs, so that four prepared statements a table serve any number."""


def _chunks(values: Sequence[Any], width: int) -> Iterator[tuple[Sequence[Any], int]]:
    """The values in chunks of whole rows, each with the number of rows that its statement takes."""
    step = _SIZES[-1] * width
    for at in range(0, len(values), step):
        chunk = values[at : at + step]
        yield chunk, next(size for size in _SIZES if size * width >= len(chunk))


def _insert(connection: sqlite3.Connection, head: str, width: int, values: Sequence[Any]) -> None:
    """values: the columns of all rows, one after the other. A row whose first column is NULL is padding."""
    for chunk, size in _chunks(values, width):
        connection.execute(_statement(head, width, size), (*chunk, *[None] * (size * width - len(chunk))))


@cache
def _statement(head: str, width: int, size: int) -> str:
    row = f"({','.join('?' * width)})"
    end = _HEADS_END if head is _HEADS else ""
    return f"{head} FROM (VALUES {','.join([row] * size)}) WHERE column1 IS NOT NULL {end}"
