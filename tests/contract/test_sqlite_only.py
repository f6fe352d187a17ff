"""What the SQLite engine promises beyond the contract: readers that see a commit whole, bytes stored once, fair batches, carried records
passed over at no cost, and workers of this machine known to be dead at once."""

import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from streams.errors import Fatal, Fenced
from streams.log import TopicSpec
from streams.record import Draft, TopicPartition
from streams.sqlite import SqliteLog, schema
from streams.sqlite.consumer import SqliteConsumer
from streams.sqlite.worker import is_alive, monotonic, new_worker_id
from tests.contract.children import Child
from tests.contract.engines import SqliteEngine
from tests.contract.waiting import records_from


@pytest.fixture
def log(sqlite_log: SqliteLog) -> SqliteLog:
    """SQLite's alone."""
    return sqlite_log


def test_readers_see_outputs_and_position_of_a_commit_together(log: SqliteLog, path: Path) -> None:
    """While another process moves records, one output each: never more outputs than positions before, never fewer after."""
    at = TopicPartition("a", 0)
    seen: set[int] = set()
    moved = appended = 0
    with Child("move", SqliteEngine(path).address, "group", "a", "b") as child:
        for _ in range(500):  # more is to be moved until both have had their turns, however slow either is
            log.append([Draft("a", None, b"%d" % number, partition=0) for number in range(appended, appended + 200)])
            appended += 200
            child.line()
            before = sum(extent.end for extent in log.extents("b"))
            moved = log.standings("group", ["a"])[at].offset
            assert before <= moved <= sum(extent.end for extent in log.extents("b"))
            assert len(list(log.read("b"))) >= moved
            seen.add(moved)
            if moved >= 2000 and len(seen) > 10:
                break
    assert moved >= 2000
    assert len(seen) > 10


def test_the_same_bytes_are_stored_once(log: SqliteLog, path: Path) -> None:
    mail = os.urandom(1000)
    for topic in ("a", "b", "a"):
        log.append([Draft(topic, None, mail, digest=b"d" * 32), Draft(topic, None, mail, digest=b"d" * 32)])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM contents").fetchone() == (1,)
    assert {(record.value, record.digest) for topic in ("a", "b") for record in log.read(topic)} == {(mail, b"d" * 32)}


def test_a_damaged_batch_is_fatal_and_keeps_nobody_from_clearing_up(log: SqliteLog, path: Path) -> None:
    """Also while the error is kept, with the frames that it came through."""
    place = log.append([Draft("a", None, b"%d" % number, partition=0) for number in range(3)])[0].position
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE batches SET body = substr(body, 1, length(body) - 1)")
    with pytest.raises(Fatal, match="damaged") as read:
        list(log.read("a"))
    with pytest.raises(Fatal, match="damaged") as fetched:
        log.fetch([place])
    log.append([Draft("a", None, b"3", partition=0)])
    assert log.extents("a")[0].end == 4
    assert log.scrub()
    assert read.value is not fetched.value


def test_values_that_are_not_there_are_fatal(log: SqliteLog, path: Path) -> None:
    with closing(SqliteLog(path)) as another:
        another.append([Draft("a", None, b"mail", digest=b"d" * 32)])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM contents")
    with pytest.raises(Fatal, match="6464"):
        list(log.read("a"))
    assert [record.value for record in log.read("a", values=False)] == [b""]


def test_another_records_value_is_never_read_for_ones_own(log: SqliteLog, path: Path) -> None:
    """Values are found by their place, which is as good as the digest that stands there."""
    log.append([Draft("a", None, b"mine", digest=b"m" * 32)])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE contents SET digest = ?, value = ?", (b"t" * 32, b"theirs"))
    with pytest.raises(Fatal, match="6d6d6d"):
        list(log.read("a"))


def test_values_of_one_digest_are_stored_once_within_an_append_and_between(log: SqliteLog, path: Path) -> None:
    digests = [b"%032d" % (number % 3) for number in range(9)]
    log.append([Draft("a", None, digest, digest=digest) for digest in digests])
    log.append([Draft("a", None, digest, digest=digest) for digest in [*digests, b"new".zfill(32)]])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM contents").fetchone() == (4,)
        assert other.execute("SELECT count(*) FROM referrers").fetchone() == (19,)
    assert all(record.value == record.digest for record in log.read("a"))


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
        assert consumer.fenced
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
