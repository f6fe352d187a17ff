"""The border where SQLite's and the system's errors become ours. Nothing else in this package catches driver errors."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import Fatal, Full, LogError, NotOurLog, TooLarge, Transient

_MEANING: dict[int, tuple[type[LogError], str]] = {
    sqlite3.SQLITE_BUSY: (Transient, "another program holds SQLite's write lock"),
    sqlite3.SQLITE_LOCKED: (Transient, "another connection holds a table lock"),
    sqlite3.SQLITE_PROTOCOL: (Transient, "too many connections race for the write-ahead log"),
    sqlite3.SQLITE_INTERRUPT: (Transient, "the statement was interrupted"),
    sqlite3.SQLITE_NOMEM: (Transient, "no memory is left"),
    sqlite3.SQLITE_IOERR: (Transient, "the disk does not read or write"),
    sqlite3.SQLITE_FULL: (Full, "no room is left on the disk"),
    sqlite3.SQLITE_TOOBIG: (TooLarge, "the record is larger than SQLite takes"),
    sqlite3.SQLITE_CANTOPEN: (Fatal, "the file cannot be opened; do its folder and the right to write there exist?"),
    sqlite3.SQLITE_PERM: (Fatal, "the right to open the file is missing"),
    sqlite3.SQLITE_AUTH: (Fatal, "the right to open the file is missing"),
    sqlite3.SQLITE_READONLY: (Fatal, "the file cannot be written; it needs the right to write to it and its folder"),
    sqlite3.SQLITE_NOLFS: (Fatal, "the file system does not take files of this size"),
    sqlite3.SQLITE_CORRUPT: (Fatal, "the file is damaged; restore it from a copy"),
    sqlite3.SQLITE_NOTADB: (NotOurLog, "the file is no SQLite database"),
}
"""By primary result code. Whatever is not here is a fault of this program, hence fatal."""

_EXTENDED: dict[int, tuple[type[LogError], str]] = {
    # SQLite reports a full disk so when it cannot lengthen the shared-memory file beside the log.
    sqlite3.SQLITE_IOERR_SHMSIZE: (Full, "no room is left on the disk"),
    # A rollback that a constraint of the journal forbids: the file was moved or replaced under us.
    sqlite3.SQLITE_READONLY_DBMOVED: (Fatal, "the file was moved or replaced while it was open"),
}

_SYSTEM: dict[int, type[LogError]] = {
    errno.ENOSPC: Full,
    errno.EDQUOT: Full,
    errno.EINTR: Transient,
    errno.EAGAIN: Transient,
    errno.EMFILE: Transient,
}


def translate(error: sqlite3.Error | OSError, path: Path) -> LogError:
    """The error in our words. It names the file and carries SQLite's own text; raise it `from` the original."""
    if isinstance(error, OSError):
        return _SYSTEM.get(error.errno or 0, Fatal)(f"{path}: {error.strerror or error}")
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Errors of the Python module itself carry no code; the one that can come is the use of a closed connection.
        return Fatal(f"{path}: {error}")
    kind, why = _EXTENDED.get(code) or _MEANING.get(code & 0xFF) or (Fatal, "SQLite refused a statement")
    return kind(f"{path}: {why} ({error})")


@contextmanager
def border(path: Path) -> Iterator[None]:
    """Raises what goes wrong inside as one of `streams.errors`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
