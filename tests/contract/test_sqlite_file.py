"""The SQLite file: how it comes to be, when it is refused, and what its errors mean."""

import errno
import sqlite3
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from streams.errors import Fatal, Full, LogError, NotOurLog, TooLarge, Transient
from streams.log import TopicSpec
from streams.record import Draft
from streams.sqlite import SqliteLog, schema
from streams.sqlite.border import border, translate
from tests.contract.children import Child
from tests.contract.engines import SqliteEngine


def test_a_new_file_is_marked_as_ours_and_keeps_its_id(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log:
        name = log.id
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA application_id").fetchone() == (0x706F7374,)
        assert other.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(SqliteLog(path)) as log:
        assert log.id == name
    assert {file.name for file in tmp_path.iterdir()} == {"log.db", "log.db.lock"}


def test_mails_are_private_and_the_lock_file_follows_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    SqliteLog(path).close()
    assert (path.stat().st_mode & 0o777, schema.lock_path(path).stat().st_mode & 0o777) == (0o600, 0o600)
    path.chmod(0o660)
    schema.lock_path(path).unlink()
    SqliteLog(path).close()
    assert schema.lock_path(path).stat().st_mode & 0o777 == 0o660


def test_any_file_name_will_do(tmp_path: Path) -> None:
    path = tmp_path / "mails? 100%41 #1 ä.db"
    with closing(SqliteLog(path)) as log:
        log.create([TopicSpec("a", 1)])
        log.append([Draft("a", None, b"x")])
    with closing(SqliteLog(path)) as log:
        assert len(list(log.read("a"))) == 1
    assert {file.name for file in tmp_path.iterdir()} == {path.name, schema.lock_path(path).name}


def test_two_files_have_two_ids(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "one.db")) as one, closing(SqliteLog(tmp_path / "two.db")) as two:
        assert one.id != two.id


def test_programs_that_start_at_once_agree_on_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    def open_and_append(number: int) -> str:
        with closing(SqliteLog(path)) as log:
            log.create([TopicSpec("a", 1)])
            log.append([Draft("a", None, b"%d" % number)])
            return log.id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(open_and_append, range(16)))) == 1
    with closing(SqliteLog(path)) as log:
        assert len(list(log.read("a"))) == 16


def test_processes_that_start_at_once_agree_on_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    children = [Child("create", SqliteEngine(path).address, "a") for _ in range(4)]
    try:
        assert len({child.line() for child in children}) == 1
        for child in children:
            child.finished()
    finally:
        for child in children:
            child.__exit__(None, None, None)
    with closing(SqliteLog(path)) as log:
        assert len(list(log.read("a"))) == 4


def _text(path: Path) -> None:
    path.write_text("a mailbox, say\n" * 1000)


def _empty(path: Path) -> None:
    path.touch()


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE records (id)")


def _foreign_wal(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE records (id)")


def _newer(path: Path) -> None:
    SqliteLog(path).close()
    schema.lock_path(path).unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {schema.VERSION + 1}")


@pytest.mark.parametrize("make", [_text, _empty, _foreign, _foreign_wal, _newer])
def test_a_file_that_is_not_ours_is_refused_and_not_touched(tmp_path: Path, make: object) -> None:
    path = tmp_path / "log.db"
    assert callable(make)
    make(path)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    with pytest.raises(NotOurLog, match=r"log\.db"):
        SqliteLog(path)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before


def test_a_file_that_cannot_be_is_fatal_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "log.db", tmp_path / "file" / "log.db", tmp_path / "folder"):
        with pytest.raises(Fatal, match=path.name):
            SqliteLog(path)
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}


def test_a_write_ahead_log_without_its_file_is_not_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    schema.wal_path(path).write_bytes(b"the newest mails")
    with pytest.raises(Fatal, match=r"log\.db-wal"):
        SqliteLog(path)
    assert schema.wal_path(path).read_bytes() == b"the newest mails"
    assert not path.exists()


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(Fatal, match=r"3\.38"):
        SqliteLog(tmp_path / "log.db")


MEANINGS = [
    (sqlite3.SQLITE_BUSY, Transient),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, Transient),
    (sqlite3.SQLITE_LOCKED, Transient),
    (sqlite3.SQLITE_PROTOCOL, Transient),
    (sqlite3.SQLITE_INTERRUPT, Transient),
    (sqlite3.SQLITE_NOMEM, Transient),
    (sqlite3.SQLITE_IOERR, Transient),
    (sqlite3.SQLITE_IOERR_FSYNC, Transient),
    (sqlite3.SQLITE_IOERR_SHMSIZE, Full),
    (sqlite3.SQLITE_FULL, Full),
    (sqlite3.SQLITE_TOOBIG, TooLarge),
    (sqlite3.SQLITE_CANTOPEN, Fatal),
    (sqlite3.SQLITE_CANTOPEN_ISDIR, Fatal),
    (sqlite3.SQLITE_PERM, Fatal),
    (sqlite3.SQLITE_AUTH, Fatal),
    (sqlite3.SQLITE_READONLY, Fatal),
    (sqlite3.SQLITE_READONLY_DBMOVED, Fatal),
    (sqlite3.SQLITE_NOLFS, Fatal),
    (sqlite3.SQLITE_CORRUPT, Fatal),
    (sqlite3.SQLITE_NOTADB, NotOurLog),
    (sqlite3.SQLITE_ERROR, Fatal),
    (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Fatal),
    (sqlite3.SQLITE_MISUSE, Fatal),
]


@pytest.mark.parametrize(("code", "kind"), MEANINGS)
def test_each_result_code_has_its_meaning(code: int, kind: type[LogError]) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    found = translate(error, Path("/folder/log.db"))
    assert type(found) is kind
    assert "/folder/log.db" in str(found)
    assert "what SQLite says" in str(found)


@pytest.mark.parametrize(
    ("number", "kind"), [("ENOSPC", Full), ("EDQUOT", Full), ("EACCES", Fatal), ("ENOENT", Fatal), ("EROFS", Fatal), ("EMFILE", Transient)]
)
def test_each_system_error_has_its_meaning(number: str, kind: type[LogError]) -> None:
    assert type(translate(OSError(getattr(errno, number), "what the system says"), Path("log.db"))) is kind


def test_real_errors_of_sqlite_come_over_the_border_with_their_cause(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    SqliteLog(path).close()
    with closing(schema.connect(path, write=True)) as one, closing(schema.connect(path, write=True)) as two:
        one.execute("BEGIN IMMEDIATE")
        two.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(Transient) as busy, border(path):
            two.execute("BEGIN IMMEDIATE")
        assert isinstance(busy.value.__cause__, sqlite3.OperationalError)
        one.execute("ROLLBACK")
        one.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        with pytest.raises(TooLarge), border(path):
            one.execute("SELECT ?", (bytes(2000),))
    with closing(schema.connect(path, write=False)) as reader, pytest.raises(Fatal, match="cannot be written"), border(path):
        reader.execute("DELETE FROM batches")
    with pytest.raises(Fatal, match="closed"), border(path):
        reader.execute("SELECT 1")


def test_a_damaged_file_is_fatal(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(SqliteLog(path)) as log:
        log.create([TopicSpec("a", 1)])
        log.append([Draft("a", None, bytes(100_000))])
    content = bytearray(path.read_bytes())
    (page_size,) = struct.unpack(">H", content[16:18])
    content[page_size:] = b"\xff" * (len(content) - page_size)
    path.write_bytes(content)
    with pytest.raises(Fatal, match="damaged"):
        SqliteLog(path).topics()
