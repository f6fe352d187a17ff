"""The file: its tables, how it is created, and the check that it is ours.

A new file is built under another name and moved into place, so a crash leaves either none or a whole one, and two programs
that start at once agree on one log id. It holds people's mails, so its owner alone may read it; who shares it changes the mode of the
file and its lock file.
"""

import os
import sqlite3
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from urllib.parse import quote

from streams.disk import sync
from streams.errors import Fatal, NotOurLog
from streams.sqlite.border import border

APPLICATION_ID = 0x706F7374
"""PRAGMA application_id: "post" in ASCII, so that file(1) and we know the file for what it is."""

VERSION = 3
"""PRAGMA user_version: raised with every change of the tables, and never lowered."""

PAGE_SIZE = 4096
"""Bytes. Measured with mails of 4 KB and half a million digests: 8192 takes the same time and writes 40 % more, as each mail touches a
page of two indexes at random, and a value of 4 KB fills a page alone."""

CHECKPOINT_PAGES = 8192
"""Pages of write-ahead log (32 MiB) after which a commit moves it into the main file: seldom enough that a page written many times is
moved once (a fifth less time a mail than at 16 MiB), often enough that no commit waits long for it."""

PATIENCE_MS = 10_000
"""How long SQLite waits for a lock that a foreign program (a backup, the sqlite3 shell) holds. Our own writers queue on flock."""

OLDEST_SQLITE = (3, 38, 0)
"""The first with the JSON functions always built in."""

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- retention is in seconds, NULL for the default, as of the topic's creation. Who enforces one says which (`SqliteLog.trim`); that raises
-- heads.first, and stops at the smallest standings.offset of the partition, so that nothing is dropped that a group has not passed.
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, retention REAL);

-- One row a partition. slot: see slots.py. first: the oldest offset kept; next: the one that the next record gets; time: of the newest.
CREATE TABLE heads (slot INTEGER PRIMARY KEY, first INTEGER NOT NULL, next INTEGER NOT NULL, time INTEGER NOT NULL);

-- Values that came with a digest (SHA-256), once each. One that no record refers to any more may go.
CREATE TABLE contents (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, value BLOB NOT NULL);

-- The records of a partition, some dozens a row: see batches.py.
CREATE TABLE batches (first INTEGER PRIMARY KEY, time INTEGER NOT NULL, live INTEGER NOT NULL, body BLOB NOT NULL);
-- Groups pass over carried records by walking this index, which does not have batches of nothing else.
CREATE INDEX live ON batches (live) WHERE live = 1;

-- The unique ids of records within their topic. id: the record's, see slots.py.
CREATE TABLE onces (topic INTEGER, once BLOB, id INTEGER NOT NULL, PRIMARY KEY (topic, once)) WITHOUT ROWID;

-- Which records refer to a content: with the last it goes. In the order of contents, since new ones come together.
CREATE TABLE referrers (content INTEGER, id INTEGER, PRIMARY KEY (content, id)) WITHOUT ROWID;

-- version is raised by every change of the group's members or owners, and of records, so that a member learns of it from one number.
CREATE TABLE groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL);

-- Where a group stands. owner is a row of members, NULL when the partition is free; epoch is raised by every change of owner.
CREATE TABLE standings (
    grp INTEGER, slot INTEGER, offset INTEGER NOT NULL, note TEXT NOT NULL, owner INTEGER, epoch INTEGER NOT NULL,
    PRIMARY KEY (grp, slot)
) WITHOUT ROWID;

-- A worker is a process that has the log open. expires: on CLOCK_MONOTONIC, which all processes of a machine share, in seconds.
CREATE TABLE workers (id TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID;

-- A member is a worker's consumer. AUTOINCREMENT: the id of one that is gone never comes back, as it stands in standings.owner.
CREATE TABLE members (id INTEGER PRIMARY KEY AUTOINCREMENT, worker TEXT NOT NULL, grp INTEGER NOT NULL, topics TEXT NOT NULL);
"""


def ensure_file(path: Path) -> None:
    """Creates the log where there is none; checks it where there is. Raises NotOurLog (nothing was touched) and Fatal."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise Fatal(
            f"Python's sqlite3 module uses SQLite {sqlite3.sqlite_version}; the log needs {'.'.join(map(str, OLDEST_SQLITE))} or later"
        )
    with border(path):
        if not path.exists():
            with _creating(path):
                if not path.exists():
                    _create(path)
                    return
        _check(path)


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to an existing log, for whichever thread holds it. Readers' connections cannot write, nor checkpoint when they
    close. Raises sqlite3.Error."""
    uri = f"file:{quote(str(path))}?mode={'rw' if write else 'ro'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=PATIENCE_MS / 1000)
    connection.execute(f"PRAGMA cache_size = {-65536 if write else -8192}")
    if write:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            connection.close()
            raise Fatal(f"{path}: SQLite cannot keep a write-ahead log here; the file must be on a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection


def log_id(connection: sqlite3.Connection) -> str:
    """The id that the log got when it was created."""
    (value,) = connection.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()
    return str(value)


def lock_path(path: Path) -> Path:
    """The file on which all writers of a log queue."""
    return path.with_name(path.name + ".lock")


def wal_path(path: Path) -> Path:
    """SQLite's write-ahead log."""
    return path.with_name(path.name + "-wal")


def open_lock(path: Path, beside: Path | None = None) -> int:
    """A descriptor of the lock file, which is created if it is not there, for the same users as the log. beside: another than that on
    which the writers queue. Raises OSError."""
    beside = beside or lock_path(path)
    try:
        return os.open(beside, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if path.exists():
        like = path.stat()
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
        with suppress(PermissionError):  # only root may give a file away, and only root need
            os.fchown(descriptor, like.st_uid, like.st_gid)
    return descriptor


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    """Alone among the programs that would create this log now."""
    lock = open_lock(path)
    try:
        flock(lock, LOCK_EX)
        yield
    finally:
        os.close(lock)


def _create(path: Path) -> None:
    if wal_path(path).exists():
        # Without its main file SQLite would drop it, and it may hold the newest records of a log that somebody moved away.
        raise Fatal(f"{wal_path(path)} stands there without {path.name}: move it back to its log, or delete it")
    new = path.with_name(f"{path.name}.new-{uuid.uuid4().hex}")
    try:
        new.touch(0o600, exist_ok=False)
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            # application_id and user_version must stand in the main file before it becomes a WAL database: _check reads only that.
            connection.executescript(f"PRAGMA page_size = {PAGE_SIZE}; BEGIN; {TABLES}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [("id", uuid.uuid4().hex), ("created", str(int(time.time())))])
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        new.rename(path)
    finally:
        for leftover in (new, wal_path(new), new.with_name(new.name + "-shm"), new.with_name(new.name + "-journal")):
            leftover.unlink(missing_ok=True)
    sync(path.parent)


def _check(path: Path) -> None:
    """Reads the two marks without a lock, a journal or any other trace. Not with open(): closing a file drops all POSIX locks that
    this process holds on it, those of SQLite's other connections included (https://www.sqlite.org/howtocorrupt.html, 2.2)."""
    if path.is_dir():
        raise Fatal(f"{path} is a folder; log.url must name a file")
    if path.is_file() and path.stat().st_size == 0:
        raise NotOurLog(f"{path} is an empty file; delete it to start a new log")
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
        # Looked at without its write-ahead log, the file may be shorter than its first page says: a checkpoint writes that page first,
        # and was cut short by kill -9 or a full disk, or is under way. SQLite calls that damaged, unless one says that one knows.
        connection.execute("PRAGMA writable_schema = ON")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise NotOurLog(f"{path} is a SQLite database of another program; name another file in log.url")
    if version < VERSION:
        raise NotOurLog(
            f"{path} was written before the first release (tables of version {version}, this one knows {VERSION}); start a new log"
        )
    if version > VERSION:
        raise NotOurLog(f"{path} was written by a newer release (tables of version {version}, this one knows {VERSION}); use that release")
