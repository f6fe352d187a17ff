"""Storing records inside the writer's transaction.

Every SQLite call gives up Python's interpreter lock, and a thread that computes keeps it for a whole switch interval (5 ms) before
the next call can begin. So the number of calls must not grow with the number of records: each table gets one statement of many rows.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from streams.sqlite.batches import Pile
from streams.sqlite.slots import OFFSET_BITS, topic_of


class Stored(NamedTuple):
    """Where the records of a job went. runs: the id of the first of some that follow each other, and the numbers by which the caller
    knows them. repeats: the ids of those that were there already, by their numbers."""

    runs: list[tuple[int, list[int]]]
    repeats: dict[int, int]

    def places(self) -> list[int]:
        """The id of each record, in the order of their numbers."""
        found = dict(self.repeats)
        for first, numbers in self.runs:
            found.update(zip(numbers, range(first, first + len(numbers)), strict=True))
        return [found[number] for number in sorted(found)]


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


class Placed(NamedTuple):
    """A pile as it was stored. first: the id of its first record. time: of all of them, in ms."""

    first: int
    time: int
    pile: Pile


def store(
    connection: sqlite3.Connection, heads: Heads, jobs: Sequence[Sequence[Pile]], clock: Callable[[], int]
) -> tuple[list[Stored], list[Placed]]:
    """Stores the piles of some jobs, in order. clock: milliseconds since 1970. A time never goes back within a partition.
    Gives what became of each job, and what was stored. Raises sqlite3.Error, after which the transaction must be rolled back."""
    piles = [pile for job in jobs for pile in job]
    if not piles:
        return [Stored([], {}) for _ in jobs], []
    now = clock()
    known = find_repeats(connection, piles)
    slots = {pile.slot for pile in piles}
    tails = heads.load(connection, slots)
    behind: dict[int, Pile] = {}
    batches: list[Placed] = []
    answers: list[Stored] = []
    for job in jobs:
        answers.append(answer := Stored([], {}))
        for pile in job:
            tail = tails[pile.slot]
            first = pile.slot << OFFSET_BITS | tail[0]
            fresh = _fresh(pile, first, known, answer.repeats)
            if not fresh:
                continue
            tail[0] += len(fresh)
            tail[1] = max(tail[1], now)
            answer.runs.append((first, list(fresh.numbers)))
            before = behind.get(pile.slot)
            if before is None or not before.takes(len(fresh), fresh.size):
                behind[pile.slot] = fresh
                batches.append(Placed(first, tail[1], fresh))
            else:
                before.extend(fresh)
    insert(connection, batches)
    _insert_rows(connection, _HEADS, 3, [part for slot in slots for part in (slot, *tails[slot])])
    return answers, batches


def insert(connection: sqlite3.Connection, batches: Sequence[Placed]) -> None:
    """Writes piles with the id of the first record and the time of each; nothing of the heads. Unique ids must be new."""
    contents = {digest: value for _, _, pile in batches for digest, value in pile.contents.items()}
    onces: list[Any] = []
    referrers: list[tuple[bytes, int]] = []
    for first, _, pile in batches:
        for rank, digest, once in pile.marks:
            if once is not None:
                onces += (topic_of(pile.slot), once, first + rank)
            if digest is not None:
                referrers.append((digest, first + rank))
    places = _put_contents(connection, contents)
    _insert_rows(connection, _REFERRERS, 2, [part for digest, number in referrers for part in (places[digest], number)])
    _insert_rows(connection, _ONCES, 3, onces)
    _insert_rows(connection, _BATCHES, 4, [part for first, time, pile in batches for part in pile.batch(first, time, places)])


def _put_contents(connection: sqlite3.Connection, contents: dict[bytes, bytes]) -> dict[bytes, int]:
    """Stores the values that are not there yet. Returns the ids of all, by digest. Most are there: a mail comes into a log once, and goes
    through it for a while."""
    places: dict[bytes, int] = {}
    missing: list[bytes] = []
    following = 0
    for chunk, size in _chunks(list(contents), 1):
        found, following = connection.execute(_places(size), (*chunk, *[None] * (size - len(chunk)))).fetchone()
        for digest, place in zip(chunk, json.loads(found), strict=False):  # the padding has places, too
            if place is None:
                missing.append(digest)
            else:
                places[digest] = place
    if missing:
        places.update(zip(missing, range(following, following + len(missing)), strict=True))
        _insert_rows(connection, _CONTENTS, 3, [part for digest in missing for part in (places[digest], digest, contents[digest])])
    return places


@cache
def _places(size: int) -> str:
    rows = ",".join(["(?)"] * size)
    return f"""SELECT json_group_array((SELECT id FROM contents WHERE digest = column1)), (SELECT coalesce(max(id), 0) + 1 FROM contents)
        FROM (VALUES {rows})"""


def _fresh(pile: Pile, first: int, known: dict[tuple[int, bytes], int], repeats: dict[int, int]) -> Pile:
    """The pile without the records that are known by their unique ids already, which go to repeats. first: the id of its first one. Of
    equal ids in several partitions of one append, which no unique id of ours has, the partition that comes first has the first."""
    out: dict[int, int] = {}
    for rank, _, once in pile.marks:
        if once is not None:
            name = (topic_of(pile.slot), once)
            if name in known:
                out[rank] = known[name]
            else:
                known[name] = first + rank - len(out)
    repeats.update({pile.numbers[rank]: place for rank, place in out.items()})
    return pile.without(out) if out else pile


def find_repeats(connection: sqlite3.Connection, piles: Sequence[Pile]) -> dict[tuple[int, bytes], int]:
    """The ids of the records that bear a unique id of one of these already, by topic and unique id."""
    wanted: dict[int, list[bytes]] = {}
    for pile in piles:
        if pile.marks:
            wanted.setdefault(topic_of(pile.slot), []).extend(once for _, _, once in pile.marks if once is not None)
    found: dict[tuple[int, bytes], int] = {}
    for topic, names in wanted.items():
        for chunk, size in _chunks(names, 1):
            query = _repeats(size)
            (pairs,) = connection.execute(query, (topic, *chunk, *[None] * (size - len(chunk)))).fetchone()
            found.update({(topic, bytes.fromhex(name)): place for name, place in json.loads(pairs).items()})
    return found


@cache
def _repeats(size: int) -> str:
    return f"SELECT json_group_object(hex(once), id) FROM onces WHERE topic = ? AND once IN ({','.join('?' * size)})"


_CONTENTS = "INSERT INTO contents (id, digest, value) SELECT column1, column2, column3"
_REFERRERS = "INSERT INTO referrers (content, id) SELECT column1, column2"
_ONCES = "INSERT INTO onces (topic, once, id) SELECT column1, column2, column3"
_BATCHES = "INSERT INTO batches (first, time, live, body) SELECT column1, column2, column3, column4"
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


def _insert_rows(connection: sqlite3.Connection, head: str, width: int, values: Sequence[Any]) -> None:
    """values: the columns of all rows, one after the other. A row whose first column is NULL is padding."""
    for chunk, size in _chunks(values, width):
        connection.execute(_statement(head, width, size), (*chunk, *[None] * (size * width - len(chunk))))


@cache
def _statement(head: str, width: int, size: int) -> str:
    row = f"({','.join('?' * width)})"
    end = _HEADS_END if head is _HEADS else ""
    return f"{head} FROM (VALUES {','.join([row] * size)}) WHERE column1 IS NOT NULL {end}"
