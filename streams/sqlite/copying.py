"""Filling a new SQLite log with another's records, and whether a log is being worked on.

The file is written under another name and moved into place when it is whole, so that nothing of it needs to be durable before.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from streams.copying import Occupied, Target
from streams.disk import sync
from streams.errors import Transient
from streams.log import Log, TopicSpec
from streams.record import Draft, TopicPartition
from streams.sqlite import schema
from streams.sqlite.append import Placed, find_repeats, insert
from streams.sqlite.batches import Pile, pack
from streams.sqlite.border import border
from streams.sqlite.engine import SqliteLog
from streams.sqlite.slots import OFFSET_BITS, Topic, topic_of
from streams.sqlite.worker import is_alive, monotonic

SUFFIX = ".copying"
"""Behind the file's name while it is being filled."""

_LARGEST = 256 << 20
_CACHE_KIB = 131_072


def workers(path: Path, groups: Iterable[str] | None = None) -> list[str]:
    """The groups of a log that live workers are members of now; all, or some of these."""
    with border(path), closing(schema.connect(path, write=False)) as connection:
        found = connection.execute(_WORKERS).fetchall()
    now = monotonic()
    wanted = None if groups is None else set(groups)
    return sorted({group for group, worker, expires in found if is_alive(worker, expires, now) and (wanted is None or group in wanted)})


def holds_records(path: Path) -> bool:
    """Whether the log in that file has ever taken a record. Raises NotOurLog, Fatal."""
    schema.ensure_file(path)
    with border(path), closing(schema.connect(path, write=False)) as connection:
        (found,) = connection.execute("SELECT coalesce(max(next), 0) FROM heads").fetchone()
    return bool(found)


class FileInPlace:
    """A new file for a log, under another name until `finish`. One program at a time; an empty log that is there already gives way.
    `path` is the file to be written, which is not there yet."""

    def __init__(self, place: Path) -> None:
        self._place = place.resolve()
        self.path = self._place.with_name(self._place.name + SUFFIX)
        self._lock: int | None = None

    def take(self) -> None:
        """Clears away what was left behind. Raises Occupied, NotOurLog, Transient, Fatal."""
        with border(self._place):
            lock = schema.open_lock(self._place)
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise Transient(f"{self._place}: another program is writing there") from None
            self._lock = lock
        self._refuse_unless_empty()
        self._clear(self.path)

    def finish(self) -> None:
        """Moves the file, which nobody has open any more, to its place, durably."""
        with border(self._place):
            self._refuse_unless_empty()
            sync(self.path)
            if self._place.exists():
                self._clear(self._place)
            self.path.rename(self._place)
            sync(self._place.parent)

    def close(self) -> None:
        """Lets go; what is not in its place is cleared away."""
        if self._lock is not None:
            with suppress(OSError):
                self._clear(self.path)
            os.close(self._lock)
            self._lock = None

    def _refuse_unless_empty(self) -> None:
        if self._place.exists():
            if holds_records(self._place):
                raise Occupied(f"{self._place} holds records already: name another file, or move that one away with its -wal")
            if at_work := workers(self._place):
                raise Occupied(f"{self._place} is empty, but somebody works on it ({', '.join(at_work)}): stop `postroom run` there")
        elif (stray := schema.wal_path(self._place)).exists():
            raise Occupied(f"{stray} stands there without {self._place.name}: move it back to its log, or delete it")

    @staticmethod
    def _clear(path: Path) -> None:
        """Removes a log that nobody has open. The main file goes first: without it SQLite looks at no other."""
        for name in (path, schema.wal_path(path), path.with_name(path.name + "-shm")):
            name.unlink(missing_ok=True)
        if path.name.endswith(SUFFIX):
            schema.lock_path(path).unlink(missing_ok=True)


class SqliteTarget(Target):
    """See `Target`. path: the file that the log is to be, in a folder that is there."""

    def __init__(self, path: Path) -> None:
        self._file = FileInPlace(path)
        self._log: SqliteLog | None = None
        self._connection: sqlite3.Connection | None = None
        self._topics: dict[str, Topic] = {}
        self._heads: dict[int, list[int]] = {}

    def prepare(self, topics: Sequence[TopicSpec], worn: Collection[TopicPartition], is_ours: Callable[[str], bool]) -> None:
        """See `Target`."""
        self._file.take()
        with closing(SqliteLog(self._file.path)) as log:
            log.create(topics)
            self.id = log.id
        with border(self._file.path):
            self._connection = schema.connect(self._file.path, write=True)
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
            for number, name, partitions in self._connection.execute("SELECT id, name, partitions FROM topics").fetchall():
                self._topics[name] = Topic(number, name, partitions)
        self._heads = {topic.slot(p): [0, 0] for topic in self._topics.values() for p in range(topic.partitions)}
        for name, partition in worn:
            self._heads[self._topics[name].slot(partition)][0] = 1
        self._firsts = {slot for slot, (first, _) in self._heads.items() if first}

    def write(self, drafts: Sequence[tuple[Draft, int]]) -> list[int]:
        """See `Target`."""
        assert self._connection
        offsets = [0] * len(drafts)
        batches: list[Placed] = []
        before = 0
        for time, run in groupby(drafts, key=itemgetter(1)):
            alike = [draft for draft, _ in run]
            for pile in pack(alike, self._topics.__getitem__, 0, _LARGEST):
                head = self._heads[pile.slot]
                head[1] = max(head[1], time)  # a time never goes back within a partition
                batches.append(Placed(pile.slot << OFFSET_BITS | head[0], head[1], pile))
                for number in pile.numbers:
                    offsets[before + number] = head[0]
                    head[0] += 1
            before += len(alike)
        with border(self._file.path):
            self._connection.execute("BEGIN")
            known = set(find_repeats(self._connection, [pile for _, _, pile in batches]))
            for _, _, pile in batches:
                _once(pile, known)
            insert(self._connection, batches)
            self._connection.execute("COMMIT")
        return offsets

    def hole(self, at: TopicPartition) -> int:
        """See `Target`."""
        head = self._heads[self._topics[at.topic].slot(at.partition)]
        head[0] += 1
        return head[0] - 1

    def seal(self) -> None:
        """See `Target`."""
        assert self._connection
        with border(self._file.path):
            self._connection.execute("BEGIN")
            heads = [(int(slot in self._firsts), following, time, slot) for slot, (following, time) in self._heads.items()]
            self._connection.executemany("UPDATE heads SET first = ?, next = ?, time = ? WHERE slot = ?", heads)
            self._connection.execute("COMMIT")

    def stand(self, group: str, topics: Sequence[str], positions: Mapping[TopicPartition, int]) -> None:
        """See `Target`."""
        assert self._connection
        self.log.ensure_group(group, topics)
        moves = []
        for topic in [self._topics[name] for name in topics]:
            for partition in range(topic.partitions):
                end = self._heads[topic.slot(partition)][0]
                moves.append((positions.get(TopicPartition(topic.name, partition), end), group, topic.slot(partition)))
        with border(self._file.path):
            self._connection.executemany(
                "UPDATE standings SET offset = ? WHERE grp = (SELECT id FROM groups WHERE name = ?) AND slot = ?", moves
            )

    @property
    def log(self) -> Log:
        """See `Target`."""
        if self._log is None:
            self._log = SqliteLog(self._file.path)
        return self._log

    def finish(self) -> None:
        """See `Target`."""
        self._let_go()
        self._file.finish()

    def close(self) -> None:
        """See `Target`."""
        self._let_go()
        self._file.close()

    def _let_go(self) -> None:
        """The last connection that closes moves the write-ahead log into the file."""
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._connection is not None:
            with border(self._file.path):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.close()
            self._connection = None


def _once(pile: Pile, known: set[tuple[int, bytes]]) -> None:
    """Leaves a unique id to the first of the records that bear it: all are copied, also where the other log had a repeat."""
    for place, mark in enumerate(pile.marks):
        if mark.once is not None:
            name = (topic_of(pile.slot), mark.once)
            if name in known:
                pile.marks[place] = mark._replace(once=None)
            known.add(name)


_WORKERS = (
    "SELECT g.name, m.worker, coalesce(w.expires, 0) FROM members m JOIN groups g ON g.id = m.grp LEFT JOIN workers w ON w.id = m.worker"
)
