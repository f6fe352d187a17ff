"""What the SQLite engine promises beyond the contract: one transaction for all who wait, fsync before the answer, a write-ahead log
that stays small, bytes stored once, readers that see a commit whole, fair batches, and workers of this machine known to be dead at once."""

import fcntl
import os
import shutil
import sqlite3
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from streams.errors import Fenced, Full, Transient
from streams.log import TopicSpec
from streams.record import Draft, TopicPartition
from streams.sqlite import SqliteLog, schema, writer
from streams.sqlite.consumer import SqliteConsumer
from streams.sqlite.worker import is_alive, monotonic, new_worker_id
from tests.contract.children import Child
from tests.contract.engines import SqliteEngine
from tests.contract.waiting import records_from, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    """A log with the topics a and b, of two partitions each."""
    with closing(SqliteLog(path)) as made:
        made.create([TopicSpec("a", 2), TopicSpec("b", 2)])
        yield made


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


def test_readers_see_outputs_and_position_of_a_commit_together(log: SqliteLog, path: Path) -> None:
    """While another process moves records, one output each: never more outputs than positions before, never fewer after."""
    log.append([Draft("a", None, b"%d" % number, partition=0) for number in range(2000)])
    at = TopicPartition("a", 0)
    looks = 0
    with Child("move", SqliteEngine(path).address, "group", "a", "b") as child:
        moved = 0
        while moved < 2000:
            child.line()
            before = sum(extent.end for extent in log.extents("b"))
            moved = log.standings("group", ["a"])[at].offset
            assert before <= moved <= sum(extent.end for extent in log.extents("b"))
            assert len(list(log.read("b"))) >= moved
            looks += 1
    assert looks > 10


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
        backup.execute("SELECT count(*) FROM records").fetchone()
        for _ in range(60):
            log.append([Draft("a", None, bytes(100_000))])
        assert wal.stat().st_size > 5 << 20
        assert backup.execute("SELECT count(*) FROM records").fetchone() == (0,)
        backup.execute("COMMIT")
        while wal.stat().st_size > 2 << 20:
            log.append([Draft("a", None, bytes(100_000))])
    assert len(list(log.read("a"))) > 60


def test_a_full_disk_takes_nothing_and_goes_on_when_there_is_room(log: SqliteLog) -> None:
    """SQLite's own limit stands for the disk's: the same error by the same way."""
    limit = log._shared.writer
    pages = limit.call(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]).result
    limit.call(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    with pytest.raises(Full, match=r"log\.db: no room is left"):
        log.append([Draft("a", None, bytes(100_000), unique=b"id")])
    assert list(log.read("a")) == []
    limit.call(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    (place,) = log.append([Draft("a", None, bytes(100_000), unique=b"id")])
    assert not place.repeat
    assert [record.offset for record in log.read("a")] == [0]


def test_the_same_bytes_are_stored_once(log: SqliteLog, path: Path) -> None:
    mail = os.urandom(1000)
    for topic in ("a", "b", "a"):
        log.append([Draft(topic, None, mail, digest=b"d" * 32), Draft(topic, None, mail, digest=b"d" * 32)])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM contents").fetchone() == (1,)
    assert {(record.value, record.digest) for topic in ("a", "b") for record in log.read(topic)} == {(mail, b"d" * 32)}


def test_passing_over_carried_records_takes_no_more_steps_however_many_there_are(log: SqliteLog) -> None:
    """Counted by SQLite's virtual machine, a call for each hundred instructions."""
    steps: list[int] = []
    for count in (100, 10_000):
        log.append([Draft("a", None, b"", carried=True, partition=0) for _ in range(count)])
        consumer = log.consumer(f"group {count}", ["a"])
        consumer.poll(1, 0)
        consumer.rewind()
        counted = 0

        def step() -> int:
            nonlocal counted
            counted += 1
            return 0

        assert isinstance(consumer, SqliteConsumer)
        consumer._reading._connection.set_progress_handler(step, 100)
        batch = consumer.poll(1, 0)
        assert batch.positions == {TopicPartition("a", 0): log.extents("a")[0].end}
        steps.append(counted)
        consumer.close()
    assert steps[1] <= steps[0] + 1


@pytest.mark.parametrize("limit", [2, 50])
def test_a_partition_that_is_far_behind_does_not_starve_the_others(log: SqliteLog, limit: int) -> None:
    """Also where a batch holds fewer records than there are partitions: within four batches each has had its turn."""
    log.append([Draft("a", None, b"%d" % number, partition=0) for number in range(1000)])
    log.append([Draft(topic, None, b"0", partition=partition) for topic, partition in (("a", 1), ("b", 0), ("b", 1))])
    with closing(log.consumer("group", ["a", "b"])) as consumer:
        seen = {record.at for _ in range(4) for record in consumer.poll(limit, 0).records}
    assert len(seen) == 4


def test_times_never_go_back_within_a_partition(path: Path) -> None:
    times = iter([1000.0, 2000.5, 1500.0, 3000.25])
    with closing(SqliteLog(path, clock=lambda: next(times))) as log:
        log.create([TopicSpec("a", 1)])
        for _ in range(4):
            log.append([Draft("a", None, b"")])
        found = [record.time for record in log.read("a")]
    assert found == [1_000_000, 2_000_500, 2_000_500, 3_000_250]


def test_offsets_count_up_without_gaps_also_after_an_append_that_failed(log: SqliteLog) -> None:
    consumer = log.consumer("group", ["a"])
    log.append([Draft("a", None, b"", partition=0)])
    records_from(consumer, 1)
    for _ in range(3):
        refused = consumer.commit([Draft("a", None, b"", partition=0)], {TopicPartition("b", 0): 1})
        with pytest.raises(Fenced):
            refused.result()
        consumer.rewind()
        log.append([Draft("a", None, b"", partition=0)])
    assert all(b.offset == a.offset + 1 for a, b in pairwise(log.read("a", 0)))
    consumer.close()


def test_a_member_that_lost_a_partition_commits_nothing_until_it_begins_afresh(log: SqliteLog, path: Path) -> None:
    """As after a freeze, when it polls before it commits: what it holds is stale, and it takes nothing back before it has dropped that."""
    revoked: list[frozenset[int]] = []
    log.append([Draft("a", None, b"", partition=partition) for partition in (0, 1)])
    with closing(log.consumer("group", ["a"], on_revoked=revoked.append)) as consumer:
        records_from(consumer, 2)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE standings SET owner = NULL, epoch = epoch + 1 WHERE slot & 1 = 0")
            other.execute("UPDATE groups SET version = version + 1")
        assert consumer.poll(10, 0).records == []
        assert revoked == [{0}]
        assert consumer.assigned == {1}
        for partition in (0, 1):
            with pytest.raises(Fenced):
                consumer.commit([Draft("b", None, b"stale")], {TopicPartition("a", partition): 1}).result()
        consumer.rewind()
        assert len(records_from(consumer, 2)) == 2
        assert consumer.assigned == {0, 1}
        consumer.commit([Draft("b", None, b"fresh")], {TopicPartition("a", partition): 1 for partition in (0, 1)}).result()
    assert [record.value for record in log.read("b")] == [b"fresh"]


def test_a_killed_worker_of_this_machine_is_known_to_be_dead_at_once(path: Path) -> None:
    """Its lease would last for an hour."""
    engine = SqliteEngine(path, session=3600)
    with closing(engine.open()) as log:
        log.create([TopicSpec("a", 2), TopicSpec("b", 2)])
        log.append([Draft("a", None, b"%d" % number, partition=number % 2) for number in range(10)])
        with Child("hold", engine.address, "group", "a", "b") as child:
            assert child.line().startswith("holds")
            heir = log.consumer("group", ["a"])
            assert heir.poll(10, 0).records == []
            child.kill()
            assert len(records_from(heir, 10)) == 10
            heir.close()


def test_a_worker_is_alive_while_its_process_and_its_lease_are() -> None:
    us = new_worker_id()
    boot, namespace, pid, start, rest = us.split("/")
    now = monotonic()
    assert is_alive(us, now + 1, now)
    assert not is_alive(us, now - 1, now), "its lease has ended"
    assert not is_alive("/".join((boot, namespace, pid, str(int(start) + 1), rest)), now + 1, now), "the pid is another's now"
    assert not is_alive("/".join(("another boot", namespace, pid, start, rest)), now + 1, now), "the machine was started since"
    assert is_alive("/".join((boot, "another namespace", "999999999", "1", rest)), now + 1, now), "only its lease can tell"
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        fields = Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()
        assert not is_alive("/".join((boot, namespace, str(ended.pid), fields[19], rest)), now + 1, now), "it is a zombie"


def test_several_logs_on_one_file_in_one_process_do_not_disturb_each_other(log: SqliteLog, path: Path) -> None:
    """Closing a file drops all POSIX locks that the process has on it; with them another process, on closing, would take itself for the
    last and delete the write-ahead log under us."""
    for _ in range(3):
        with closing(SqliteLog(path)) as other:
            assert other.id == log.id
    with Child("append-one", SqliteEngine(path).address, "a") as child:
        child.go_on()
        assert child.line() == "ready"
        assert child.line() == "stored"
        child.finished()
    assert schema.wal_path(path).exists()
    log.append([Draft("a", b"key", b"two")])
    assert [record.value for record in log.read("a")] == [b"one", b"two"]


@pytest.mark.parametrize("action", [lambda log: log.append([Draft("a", None, b"")]), lambda log: log.consumer("group", ["a"])])
def test_a_closed_log_says_so(path: Path, action: Callable[[SqliteLog], object]) -> None:
    log = SqliteLog(path)
    log.create([TopicSpec("a", 1)])
    log.close()
    with pytest.raises(Exception, match="closed"):
        action(log)
    log.close()
