"""Records go again: those past retention, and those whose contents are taken out."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from streams.errors import Fatal, PositionExpired, TooLarge
from streams.log import Extent, Log, Revision, TopicSpec
from streams.record import Draft, Position
from streams.sqlite import SqliteLog
from streams.sqlite.removal import STEP_RECORDS
from tests.contract.conftest import Join

DIGEST, OTHER = b"1" * 32, b"2" * 32
LARGE = b"a secret of many pages. " * 2000


def values(log: Log, topic: str) -> list[bytes]:
    return [record.value for record in log.read(topic)]


# -- every engine -----------------------------------------------------------------------------------------------------------------


def test_nothing_is_trimmed_that_a_group_has_not_passed(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    log.ensure_group(group, [name])
    log.append([Draft(name, None, b"%d" % number) for number in range(10)])
    time.sleep(0.002)  # so that all are older than nothing at all
    assert list(log.trim({name: 0.0, "contract.nowhere": 0.0})) == []
    assert [record.value for record in join(group, name).poll(100, 5.0).records] == values(log, name) == [b"%d" % n for n in range(10)]


def expire(log: Log, topic: str, records: int, boundary: float) -> None:
    """Has retention take the first records of partition 0, which were appended before that time (s)."""
    if isinstance(log, SqliteLog):
        assert sum(gone for _, gone in log.trim({topic: time.time() - boundary})) == records
        return
    from confluent_kafka import TopicPartition

    from streams.kafka import KafkaLog

    assert isinstance(log, KafkaLog)
    for answer in log._topics.admin.delete_records([TopicPartition(topic, 0, records)]).values():
        answer.result()


def test_what_has_expired_is_gone_for_everybody_and_the_rest_begins_behind_it(log: Log, topic: Callable[[int], str], group: str) -> None:
    name = topic(1)
    old = [log.append([Draft(name, None, b"old")])[0].position for _ in range(3)]
    time.sleep(0.02)
    boundary = time.time()
    time.sleep(0.02)
    (new,) = log.append([Draft(name, None, b"new")])
    expire(log, name, old[-1].offset + 1, boundary)
    (extent,) = log.extents(name)
    assert old[-1].offset < extent.first <= new.position.offset < extent.end
    assert values(log, name) == [record.value for record in log.read(name, 0, start=0)] == [b"new"]
    assert [record and record.value for record in log.fetch([*old, new.position])] == [None, None, None, b"new"]
    log.ensure_group(group, [name])
    assert [place.offset for place in log.standings(group, [name]).values()] == [extent.first]


@pytest.mark.parametrize("left", [5, 0])
def test_a_reading_goes_on_behind_what_expires_meanwhile(log: Log, topic: Callable[[int], str], left: int) -> None:
    name = topic(1)
    old = [log.append([Draft(name, None, b"%d" % number + bytes(900_000))])[0].position for number in range(40)]
    time.sleep(0.02)
    boundary = time.time()
    time.sleep(0.02)
    new = [log.append([Draft(name, None, b"%d" % number)])[0].position for number in range(left)]
    reading = log.read(name)
    offsets = [next(reading).offset]
    expire(log, name, old[-1].offset + 1, boundary)
    offsets += [record.offset for record in reading]
    assert offsets == sorted(offsets)
    assert len(offsets) < len(old) + left
    assert offsets[len(offsets) - left :] == [position.offset for position in new]


def test_contents_are_taken_out_where_the_engine_can_and_refused_elsewhere(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    places = [appended.position for appended in log.append([Draft(name, b"k", b"secret", (("h", b"secret"),)), Draft(name, b"k", b"gone")])]
    output = Draft(name, b"k", b"told")
    if not log.revisable:
        with pytest.raises(Fatal, match="cannot be changed"):
            log.revise(dict.fromkeys(places), [output])
        assert values(log, name) == [b"secret", b"gone"]
        return
    log.revise({places[0]: Revision(b"", (("h", b"-"),)), places[1]: None, places[0]._replace(log="another"): None}, [output])
    kept, told = log.read(name)
    assert (kept.key, kept.value, kept.headers, kept.offset) == (b"k", b"", (("h", b"-"),), places[0].offset)
    assert told.value == b"told"
    assert [record and record.value for record in log.fetch(places)] == [b"", None]
    assert log.scrub()


# -- SQLite -----------------------------------------------------------------------------------------------------------------------


class Clock:
    """Moved by the test."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At some time."""
    return Clock()


@pytest.fixture
def aging(tmp_path: Path, clock: Clock) -> Iterator[SqliteLog]:
    """A log on SQLite whose records grow old as the test says, with the topics a and b of one partition each."""
    with closing(SqliteLog(tmp_path / "log.db", clock=clock)) as made:
        made.create([TopicSpec("a", 1), TopicSpec("b", 1)])
        yield made


def append(log: Log, topic: str, *numbers: int, size: int = 10, digest: bytes | None = None) -> list[Position]:
    return [one.position for one in log.append([Draft(topic, b"k", b"%0*d" % (size, number), digest=digest) for number in numbers])]


@pytest.mark.sqlite_only
def test_what_is_older_than_retention_goes_from_the_beginning(aging: SqliteLog, clock: Clock) -> None:
    old = append(aging, "a", 1, 2)
    append(aging, "b", 1)
    clock.now += 100
    append(aging, "a", 3)
    assert list(aging.trim({"a": 100.0})) == []
    clock.now += 1
    assert list(aging.trim({"a": 100.0})) == [("a", 2)]
    assert aging.extents("a") == [Extent(2, 3)]
    assert [int(value) for value in values(aging, "a")] == [3]
    assert aging.fetch(old) == [None, None]
    assert len(values(aging, "b")) == 1
    aging.ensure_group("new", ["a"])
    assert [place.offset for place in aging.standings("new", ["a"]).values()] == [2]


@pytest.mark.sqlite_only
def test_what_the_slowest_group_has_not_passed_stays_however_old(aging: SqliteLog, clock: Clock, tmp_path: Path) -> None:
    for group in ("slow", "quick"):
        aging.ensure_group(group, ["a"])
    append(aging, "a", 1, 2, 3)
    clock.now += 1000
    with closing(aging.consumer("quick", ["a"])) as quick:
        quick.commit([], quick.poll(100, 5.0).positions).result()
    assert list(aging.trim({"a": 1.0})) == []
    with closing(aging.consumer("slow", ["a"])) as slow:
        slow.commit([], slow.poll(2, 5.0).positions).result()
        assert list(aging.trim({"a": 1.0})) == [("a", 2)]
        assert [int(record.value) for record in slow.poll(100, 5.0).records] == [3]


@pytest.mark.sqlite_only
def test_it_goes_in_steps_between_which_others_write_and_the_room_is_used_again(aging: SqliteLog, clock: Clock, tmp_path: Path) -> None:
    def fill() -> None:
        append(aging, "a", *range(3 * STEP_RECORDS), size=2000)
        aging.scrub()

    fill()
    size = (tmp_path / "log.db").stat().st_size
    clock.now += 10
    dropped = 0
    for topic, count in aging.trim({"a": 1.0}):
        assert topic == "a"
        assert count <= STEP_RECORDS
        dropped += count
        writer = Thread(target=append, args=(aging, "b", dropped))
        writer.start()
        writer.join(10)
        assert not writer.is_alive()
    assert dropped == 3 * STEP_RECORDS
    fill()
    assert (tmp_path / "log.db").stat().st_size < size * 1.1


@pytest.mark.sqlite_only
def test_a_unique_id_goes_with_its_record(aging: SqliteLog, clock: Clock) -> None:
    drafts = [Draft("a", b"k", b"%d" % number, digest=b"%d" % number * 32, unique=b"id %d" % number) for number in range(3)]
    first, second, third = (one.position for one in aging.append(drafts))
    aging.revise({first: None, second: Revision(b"", ())})
    assert [one.repeat for one in aging.append(drafts)] == [False, True, True]
    clock.now += 10
    assert list(aging.trim({"a": 1.0})) == [("a", 3)]
    assert aging.fetch([first, second, third]) == [None, None, None]
    assert [one.repeat for one in aging.append(drafts)] == [False, False, False]
    assert values(aging, "a") == [b"0", b"1", b"2"]


@pytest.mark.sqlite_only
def test_contents_go_with_the_last_record_that_has_them(aging: SqliteLog, clock: Clock) -> None:
    aging.append([Draft("a", b"k", LARGE, digest=DIGEST), Draft("b", b"k", LARGE, digest=DIGEST), Draft("a", b"k", b"2", digest=OTHER)])
    clock.now += 10
    assert list(aging.trim({"a": 1.0})) == [("a", 2)]
    assert values(aging, "b") == [LARGE]
    assert aging._reading.rows("SELECT count(*) FROM contents") == [(1,)]
    assert list(aging.trim({"b": 1.0})) == [("b", 1)]
    assert aging._reading.rows("SELECT count(*) FROM contents") == [(0,)]


@pytest.mark.sqlite_only
def test_what_was_taken_out_is_nowhere_in_the_files(aging: SqliteLog, tmp_path: Path) -> None:
    """In the main file, the write-ahead log, or beside them; nor does it go while another record has the same bytes."""
    drafts = [Draft(topic, b"k", LARGE, (("facts", b"a subject"),), digest=DIGEST) for topic in ("a", "b")]
    first, second, *_ = (one.position for one in aging.append([*drafts, *(Draft("a", b"k", b"x" * 500) for _ in range(50))]))
    aging.revise({first: None})
    assert [record and record.value for record in aging.fetch([first, second])] == [None, LARGE]
    aging.revise({second: Revision(b"", ())})
    assert aging.scrub()
    for file in tmp_path.iterdir():
        assert b"secret" not in file.read_bytes(), file
        assert b"a subject" not in file.read_bytes(), file


@pytest.mark.sqlite_only
def test_contents_are_not_taken_out_where_what_is_to_be_appended_with_it_cannot_be(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.db", largest=100)) as log:
        log.create([TopicSpec("a", 1)])
        (place,) = append(log, "a", 1)
        with pytest.raises(TooLarge):
            log.revise({place: None}, [Draft("a", b"k", b"x" * 101)])
        assert log.fetch([place]) != [None]


@pytest.mark.sqlite_only
def test_a_reader_who_looks_for_long_keeps_the_write_ahead_log_and_scrub_says_so(aging: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.sqlite.schema.PATIENCE_MS", 50)
    (place,) = append(aging, "a", 1)
    reading = aging._reading._connection
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM batches").fetchone()
    aging.revise({place: None})
    assert not aging.scrub()
    reading.execute("COMMIT")
    assert aging.scrub()


@pytest.mark.sqlite_only
def test_a_group_that_stands_before_what_is_kept_stops_with_a_clear_word(aging: SqliteLog, tmp_path: Path) -> None:
    """`trim` never does that to a group; a file that was put together by hand may."""
    append(aging, "a", 1, 2, 3)
    aging.ensure_group("left", ["a"])
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
        connection.execute("DELETE FROM batches")
        connection.execute("UPDATE heads SET first = 3 WHERE next = 3")
    with closing(aging.consumer("left", ["a"])) as consumer, pytest.raises(PositionExpired, match="group left stands at 0"):
        consumer.poll(10, 5.0)
