"""How the SQLite engine writes: one transaction for all who wait, fsync before the answer, a write-ahead log that stays small, and nothing
stored where an error is raised."""

import fcntl
import os
import shutil
import sqlite3
import struct
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from streams.errors import Fenced, Full, Transient
from streams.log import TopicSpec
from streams.record import Draft, TopicPartition
from streams.sqlite import SqliteLog, schema, writer
from tests.contract.children import Child
from tests.contract.engines import SqliteEngine
from tests.contract.waiting import records_from, until


@pytest.fixture
def log(sqlite_log: SqliteLog) -> SqliteLog:
    """SQLite's alone."""
    return sqlite_log


def _commits(path: Path) -> int:
    """How many transactions stand in the write-ahead log: frames that tell the size of the file after a commit
    (https://www.sqlite.org/fileformat2.html, 4.1)."""
    wal = schema.wal_path(path).read_bytes()
    page_size, _, salt = struct.unpack(">8xII8s", wal[:24]) if wal else (1, 0, b"")
    frames = range(32, len(wal), 24 + page_size)
    return sum(1 for at in frames if wal[at + 8 : at + 16] == salt and wal[at + 4 : at + 8] != bytes(4))


class Held:
    """Holds the lock file, as another process does while it writes."""

    def __init__(self, path: Path) -> None:
        self._file = schema.lock_path(path).open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        self._file.close()


def test_appends_that_wait_share_one_transaction(log: SqliteLog, path: Path) -> None:
    before = _commits(path)
    held = Held(path)
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(log.append, [Draft("a", b"%d" % number, b"value")]) for number in range(20)]
        _queued(log, 19)  # the writer has one in hand, and waits for the lock
        held.release()
        positions = [future.result()[0].position for future in futures]
    assert _commits(path) == before + 1
    assert len(set(positions)) == 20


def _queued(log: SqliteLog, count: int) -> None:
    waiting = threading.Event()
    jobs = log._shared.writer._queue
    until(lambda: jobs.qsize() == count, lambda: waiting.wait(0.01), f"{count} jobs in the queue")


def test_a_fenced_commit_fails_alone_among_those_that_share_its_transaction(log: SqliteLog, path: Path) -> None:
    consumer = log.consumer("group", ["a"])
    log.append([Draft("a", None, b"0", partition=0)])
    records_from(consumer, 1)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE standings SET epoch = epoch + 1")
    held = Held(path)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(log.append, [Draft("b", b"before", b"")])
        _queued(log, 0)
        fenced: Future[None] = consumer.commit([Draft("b", b"fenced", b"")], {TopicPartition("a", 0): 1})
        after = pool.submit(log.append, [Draft("b", b"after", b"")])
        _queued(log, 2)
        transactions = _commits(path)
        held.release()
        before.result()
        after.result()
    with pytest.raises(Fenced):
        fenced.result()
    assert _commits(path) == transactions + 1
    assert {record.key for record in log.read("b")} == {b"before", b"after"}
    consumer.close()


def test_an_append_that_waits_too_long_for_the_lock_file_stores_nothing(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log._shared.writer, "_patience", 0.1)
    held = Held(path)
    for _ in range(2):
        with pytest.raises(Transient, match=r"log\.db\.lock"):
            log.append([Draft("a", None, b"late")])
    held.release()
    monkeypatch.undo()
    log.append([Draft("a", None, b"then")])
    assert [record.value for record in log.read("a")] == [b"then"]


@pytest.fixture
def strace() -> list[str]:
    """The command; skips where there is none, or where it may not trace (which CI must allow)."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed, so the system calls cannot be watched")
    if subprocess.run([found, "-f", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is installed, but may not trace (ptrace is forbidden)")
        pytest.skip("strace may not trace here (ptrace is forbidden)")
    return [found]


def test_the_write_ahead_log_is_synced_before_an_append_answers(log: SqliteLog, path: Path, tmp_path: Path, strace: list[str]) -> None:
    calls = tmp_path / "calls"
    under = [*strace, "-f", "-y", "-o", str(calls), "-e", "trace=fsync,fdatasync,write,pwrite64,sendto"]
    with Child("append-one", SqliteEngine(path).address, "a", under=under) as child:
        assert child.line() == "ready"
        child.go_on()
        assert child.line() == "stored"
        child.finished()
    lines = calls.read_text().splitlines()
    (ready,) = (number for number, line in enumerate(lines) if '"ready' in line)
    (stored,) = (number for number, line in enumerate(lines) if '"stored' in line)
    wal = str(schema.wal_path(path))
    between = lines[ready:stored]
    written = [number for number, line in enumerate(between) if "pwrite64" in line and wal in line]
    synced = [number for number, line in enumerate(between) if ("fdatasync" in line or "fsync" in line) and wal in line]
    assert written
    assert synced
    assert max(written) < max(synced)


def test_the_write_ahead_log_stays_small_while_readers_never_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 MB are written."""
    monkeypatch.setattr(schema, "CHECKPOINT_PAGES", 100)
    monkeypatch.setattr(writer, "LARGEST_WAL", 2 << 20)
    largest = 0
    done = threading.Event()
    with closing(SqliteLog(path)) as log:
        log.create([TopicSpec("a", 1)])

        def read() -> None:
            while not done.is_set():
                for _ in log.read("a"):
                    pass

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for _ in range(300):
                    log.append([Draft("a", None, bytes(100_000))])
                    largest = max(largest, schema.wal_path(path).stat().st_size)
            finally:
                done.set()
            for reader in readers:
                reader.result()
    assert largest < 10 << 20
    assert not schema.wal_path(path).exists()


def test_a_reader_that_looks_for_long_holds_up_no_writer(log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup, say: the write-ahead log grows meanwhile, is tried again seldom, and shrinks afterwards."""
    monkeypatch.setattr(writer, "LARGEST_WAL", 2 << 20)
    monkeypatch.setattr(writer, "TRIM_PATIENCE_MS", 1)
    monkeypatch.setattr(log._shared.writer, "_trim_at", 2 << 20)
    wal = schema.wal_path(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM batches").fetchone()
        for _ in range(60):
            log.append([Draft("a", None, bytes(100_000))])
        assert wal.stat().st_size > 5 << 20
        assert backup.execute("SELECT count(*) FROM batches").fetchone() == (0,)
        backup.execute("COMMIT")
        while wal.stat().st_size > 2 << 20:
            log.append([Draft("a", None, bytes(100_000))])
    assert len(list(log.read("a"))) > 60


def test_a_full_disk_takes_nothing_and_goes_on_when_there_is_room(log: SqliteLog) -> None:
    """SQLite's own limit stands for the disk's: the same error by the same way."""
    limit = log._shared.writer
    pages = limit.call(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]).result
    limit.call(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    with pytest.raises(Full, match=r"log\.db: no room is left") as full:
        log.append([Draft("a", None, bytes(100_000), unique=b"id")])
    assert isinstance(full.value.__cause__, sqlite3.OperationalError)
    assert list(log.read("a")) == []
    limit.call(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    (place,) = log.append([Draft("a", None, bytes(100_000), unique=b"id")])
    assert not place.repeat
    assert [record.offset for record in log.read("a")] == [0]
