"""What this process has just written its own groups get from memory: no other records than the file has, and none that was erased."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.log import Consumer, Revision, TopicSpec
from streams.record import Draft, Record, TopicPartition
from streams.sqlite import SqliteLog
from streams.sqlite.append import Placed
from streams.sqlite.batches import pack
from streams.sqlite.reading import Reading
from streams.sqlite.slots import OFFSET_BITS, Topic
from streams.sqlite.tail import Run, Tail, run

DIGESTS = [bytes([number]) * 32 for number in range(4)]


@pytest.fixture
def log(sqlite_log: SqliteLog) -> SqliteLog:
    """SQLite's alone."""
    return sqlite_log


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing is read from the file but heads and positions."""

    def page(*_args: object, **_named: object) -> None:
        raise AssertionError("it was read from the file")

    monkeypatch.setattr(Reading, "page", page)


def joined(log: SqliteLog) -> Consumer:
    """A consumer that has its partitions, and has seen that it has."""
    consumer = log.consumer("group", ["x"])
    consumer.poll(1, 0.0)
    consumer.poll(1, 0.0)
    return consumer


def some_drafts(draw: random.Random, count: int) -> Iterator[Draft]:
    for number in range(count):
        digest = draw.choice([None, *DIGESTS])
        yield Draft(
            "x",
            draw.choice([None, b"", b"key"]),
            b"%d" % number if digest is None else digest * 3,
            draw.choice([(), (("name", b""), ("other", b"%d" % number))]),
            draw.randrange(3),
            draw.random() < 0.3,
            digest,
            draw.choice([None, b"", b"%d" % draw.randrange(1 + count)]),
        )


@pytest.mark.parametrize("seed", range(10))
def test_a_consumer_gets_from_memory_what_stands_in_the_file(log: SqliteLog, seed: int) -> None:
    draw = random.Random(seed)
    log.create([TopicSpec("x", 3)])
    consumer = joined(log)
    got: list[Record] = []
    for _ in range(6):
        log.append(list(some_drafts(draw, draw.randrange(1, 200))))
        for _ in range(draw.randrange(8)):
            got += consumer.poll(draw.randrange(1, 90), 0.0).records
    while (batch := consumer.poll(7, 0.0)).positions:
        got += batch.records
    for partition in range(3):
        stored = [record for record in log.read("x", partition) if not record.carried]
        assert [record for record in got if record.partition == partition] == stored
    consumer.close()


def test_what_is_in_memory_is_not_read_again(log: SqliteLog, unread: None) -> None:
    log.create([TopicSpec("x", 1)])
    consumer = joined(log)
    log.append([Draft("x", None, b"%d" % number, carried=number % 2 == 1) for number in range(1000)])
    got: list[Record] = []
    while (batch := consumer.poll(300, 0.0)).positions:
        got += batch.records
        consumer.commit([], batch.positions).result()
    assert [int(record.value) for record in got] == list(range(0, 1000, 2))
    assert log.standings("group", ["x"])[TopicPartition("x", 0)].offset == 1000
    consumer.close()


@pytest.mark.parametrize("revision", [None, Revision(b"", (("gone", b""),))])
def test_what_was_erased_is_not_handed_out_of_memory(log: SqliteLog, path: Path, revision: Revision | None) -> None:
    """Also where another process has erased it."""
    log.create([TopicSpec("x", 1)])
    consumer = joined(log)
    secret, other = log.append([Draft("x", None, b"secret"), Draft("x", None, b"other")])
    elsewhere = SqliteLog(path)
    elsewhere.revise({secret.position: revision})
    values = [record.value for record in consumer.poll(10, 0.0).records]
    assert values == ([b"other"] if revision is None else [b"", b"other"])
    log.revise({other.position: Revision(b"new", ())})
    consumer.rewind()
    assert consumer.poll(10, 0.0).records[-1].value == b"new"
    consumer.close()
    elsewhere.close()


def test_a_batch_from_memory_ends_with_the_record_that_reaches_the_bound(log: SqliteLog, unread: None) -> None:
    log.create([TopicSpec("x", 1)])
    consumer = joined(log)
    log.append([Draft("x", None, b"x" * (3 << 20)) for _ in range(4)])
    assert len(consumer.poll(10, 0.0).records) == 3
    consumer.close()


def test_nothing_is_kept_where_nobody_reads(log: SqliteLog) -> None:
    log.create([TopicSpec("x", 1)])
    log.append([Draft("x", None, b"1")])
    assert log._shared.tail.page("x", 0, 1, 10) is None


def placed(first: int, drafts: list[Draft]) -> list[Placed]:
    """The drafts as one commit stores them."""
    made: list[Placed] = []
    topics = {"x": Topic(first >> OFFSET_BITS, "x", 1)}
    for pile in pack(drafts, topics.__getitem__, 0, 1 << 30):
        made.append(Placed(first, 1, pile))
        first += len(pile)
    return made


def runs(slot: int, *sizes: int) -> list[Run]:
    made: list[Run] = []
    for size in sizes:
        first = made[-1].end if made else slot << OFFSET_BITS
        made += map(run, placed(first, [Draft("x", None, b"x" * 1000) for _ in range(size)]))
    return made


def test_the_oldest_runs_go_first_whatever_their_slot() -> None:
    one, other = runs(1, 10, 10), runs(2, 10)
    tail = Tail(limit=one[0].size + one[1].size)
    tail.keep([one[0], other[0], one[1]])
    assert tail.page("x", one[0].first, one[1].end, 100) is None
    page = tail.page("x", one[1].first + 3, one[1].end, 100)
    assert page is not None
    assert [record.offset for record in page.records] == list(range(13, 20))
    assert tail.page("x", other[0].first, other[0].end, 100)


def test_a_hole_ends_a_page() -> None:
    """What another process wrote in between is not known."""
    first, _, third = runs(0, 5, 5, 5)
    tail = Tail()
    tail.keep([first, third])
    page = tail.page("x", 2, 15, 100)
    assert page is not None
    assert ([record.offset for record in page.records], page.end) == ([2, 3, 4], 5)
    assert tail.page("x", 5, 15, 100) is None


def test_headers_count_for_the_bound() -> None:
    """A mail to a hundred recipients has more in them than in its text."""
    drafts = [Draft("x", None, b"", (("facts", b"f" * 100_000),)) for _ in range(10)]
    tail = Tail(limit=1_000_000)
    tail.keep([run(one) for one in placed(0, drafts)])
    assert tail.page("x", 0, 10, 10) is None
