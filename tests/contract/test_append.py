"""Appending: durable or not at all, in order, to the right partition, byte for byte."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from streams.errors import TooLarge, TopicMissing
from streams.log import Log, TopicSpec
from streams.record import Draft, Headers, murmur2_partition
from tests.contract.children import Child
from tests.contract.engines import Engine

MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""From the tests of Apache Kafka's Java client (UtilsTest.testMurmur2)."""


@pytest.mark.parametrize(("key", "value"), MURMUR2.items())
def test_a_key_has_the_partition_that_java_gives_it(key: bytes, value: int) -> None:
    assert murmur2_partition(key, 2**31) == value & 0x7FFFFFFF


def test_records_of_a_key_stand_in_the_partition_that_java_gives_it(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(7)
    appended = log.append([Draft(name, key, b"") for key in MURMUR2])
    assert [place.position.partition for place in appended] == [(value & 0x7FFFFFFF) % 7 for value in MURMUR2.values()]


def test_an_explicit_partition_goes_before_the_key(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(4)
    appended = log.append([Draft(name, b"key", b"", partition=partition) for partition in (3, 0, 2, 1)])
    assert [place.position.partition for place in appended] == [3, 0, 2, 1]


def test_records_without_a_key_spread(log: Log, topic: Callable[[int], str]) -> None:
    """Over time every partition gets some; records of one append may stay together."""
    name = topic(3)
    for _ in range(200):
        log.append([Draft(name, None, b"")])
    assert all(list(log.read(name, partition)) for partition in range(3))


def test_what_was_appended_is_read_by_whoever_opens_the_log_next(opened: Callable[[], Log], log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    log.append([Draft(name, b"key", b"value")])
    (record,) = opened().read(name)
    assert (record.key, record.value) == (b"key", b"value")


def test_records_keep_the_order_of_the_appends_in_their_partition(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(2)
    for start in range(0, 100, 10):
        log.append([Draft(name, None, b"%d" % number, partition=number % 2) for number in range(start, start + 10)])
    for partition in range(2):
        records = list(log.read(name, partition))
        assert [record.value for record in records] == [b"%d" % number for number in range(partition, 100, 2)]
        assert all(a.offset < b.offset and a.time <= b.time for a, b in pairwise(records))


def test_the_answer_tells_where_each_record_stands(log: Log, topic: Callable[[int], str]) -> None:
    names = [topic(2), topic(3)]
    drafts = [Draft(names[number % 2], b"%d" % number, b"value %d" % number) for number in range(20)]
    positions = [place.position for place in log.append(drafts)]
    assert {position.log for position in positions} == {log.id}
    found = log.fetch(positions)
    assert [record and (record.topic, record.key, record.value) for record in found] == [(d.topic, d.key, d.value) for d in drafts]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("one", b"1"),),
        (("ce_id", b"x"), ("ce_id", b""), ("a", bytes(range(256))), ("ce_id", b"x")),
        tuple((f"name-{number}", b"%d" % number) for number in range(300)),
    ],
    ids=["none", "one", "repeated and binary", "many"],
)
def test_headers_come_back_in_order_with_repeats_and_any_bytes(log: Log, topic: Callable[[int], str], headers: Headers) -> None:
    name = topic(1)
    log.append([Draft(name, b"key", b"value", headers)])
    (record,) = log.read(name)
    assert record.headers == headers


@pytest.mark.parametrize(
    "value", [b"", b"\0", bytes(range(256)) * 16, b"\r\n.\r\n", b"x" * 1_000_000], ids=["empty", "nul", "all", "dot", "1 MB"]
)
@pytest.mark.parametrize("key", [None, b"", b"\xff\0key"], ids=["no key", "empty key", "binary key"])
def test_value_and_key_come_back_byte_for_byte(log: Log, topic: Callable[[int], str], key: bytes | None, value: bytes) -> None:
    name = topic(1)
    (place,) = log.append([Draft(name, key, value, partition=0)])
    (record,) = log.read(name)
    assert (record.key, record.value) == (key, value)
    assert log.fetch([place.position]) == [record]


def test_the_append_time_is_the_logs_and_in_milliseconds(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    log.append([Draft(name, None, b"first")])
    (first,) = log.read(name)
    assert 1_600_000_000_000 < first.time < 10_000_000_000_000


def test_a_missing_topic_takes_nothing_of_the_append(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    with pytest.raises(TopicMissing, match="nowhere"):
        log.append([Draft(name, None, b"x"), Draft("contract.nowhere", None, b"y")])
    assert list(log.read(name)) == []


def test_a_record_that_is_too_large_takes_nothing_of_the_append(
    engine: Engine, log: Log, topic: Callable[[int], str], request: pytest.FixtureRequest
) -> None:
    if engine.largest is None:
        request.applymarker(
            pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason=f"{engine.name} takes a record of any size")
        )
    name = topic(1)
    with pytest.raises(TooLarge):
        log.append([Draft(name, None, b"x"), Draft(name, None, bytes(2 * (engine.largest or 1 << 20)))])
    assert list(log.read(name)) == []


def test_a_unique_id_is_taken_once(engine: Engine, log: Log, topic: Callable[[int], str], request: pytest.FixtureRequest) -> None:
    """Also within one append; the answer to a repeat is the place of the first. Another topic is another matter."""
    _needs_repeats(engine, request)
    name, other = topic(2), topic(2)
    first, again, different = log.append(
        [Draft(name, b"a", b"1", unique=b"id"), Draft(name, b"a", b"2", unique=b"id"), Draft(name, b"a", b"3")]
    )
    later, elsewhere = log.append([Draft(name, b"b", b"4", unique=b"id"), Draft(other, b"a", b"5", unique=b"id")])
    assert [place.repeat for place in (first, again, different, later, elsewhere)] == [False, True, False, True, False]
    assert again.position == later.position == first.position
    assert [record.value for record in log.read(name)] == [b"1", b"3"]


def test_a_unique_id_that_many_append_at_once_is_taken_once(
    engine: Engine, log: Log, opened: Callable[[], Log], topic: Callable[[int], str], request: pytest.FixtureRequest
) -> None:
    _needs_repeats(engine, request)
    name = topic(2)
    logs = [log, opened()]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: logs[number % 2].append([Draft(name, b"key", b"%d" % number, unique=b"id")]), range(40)))
    assert sorted(place.repeat for (place,) in answers) == [False] + 39 * [True]
    assert len({place.position for (place,) in answers}) == 1
    assert len(list(log.read(name))) == 1


def test_an_engine_that_cannot_know_repeats_says_so(engine: Engine, log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    (place,) = log.append([Draft(name, None, b"x", unique=b"id")])
    assert place.repeat is (False if engine.repeats else None)


def _needs_repeats(engine: Engine, request: pytest.FixtureRequest) -> None:
    if not engine.repeats:
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"{engine.name} cannot look a unique id up when it appends"))


def test_racing_threads_each_keep_their_order_and_lose_nothing(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(3)

    def write(writer: int) -> None:
        for number in range(50):
            log.append([Draft(name, b"%d" % writer, b"%d %d" % (writer, number))])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    _each_writer_in_order(log, name, 8, 50)


def test_racing_processes_each_keep_their_order_and_lose_nothing(
    log: Log, topic: Callable[[int], str], child: Callable[..., Child]
) -> None:
    name = topic(3)
    writers = [child("append", name, str(number), "100") for number in range(4)]
    for writer in writers:
        assert writer.line() == "ready"
    for writer in writers:
        writer.go_on()
    for writer in writers:
        writer.finished()
    _each_writer_in_order(log, name, 4, 100)


def _each_writer_in_order(log: Log, name: str, writers: int, count: int) -> None:
    values = [record.value.decode() for record in log.read(name)]
    for writer in range(writers):
        assert [value for value in values if value.startswith(f"{writer} ")] == [f"{writer} {number}" for number in range(count)]
    assert len(values) == writers * count


def test_creating_a_topic_again_leaves_it_as_it_is(log: Log, opened: Callable[[], Log], topic: Callable[[int], str]) -> None:
    name = topic(2)
    log.append([Draft(name, b"key", b"value")])
    opened().create([TopicSpec(name, 5)])
    assert log.topics()[name] == 2
    assert len(list(log.read(name))) == 1


def test_a_digest_comes_back_where_the_engine_keeps_it(log: Log, topic: Callable[[int], str]) -> None:
    """It is a hint to store the bytes once: they come back whole from each topic in any case."""
    one, two = topic(1), topic(1)
    mail = b"mail" * 500
    log.append([Draft(one, None, mail, digest=b"d" * 32), Draft(two, None, mail, digest=b"d" * 32)])
    log.append([Draft(two, None, mail, digest=b"d" * 32)])
    for record in [*log.read(one), *log.read(two)]:
        assert record.value == mail
        assert record.digest in {b"d" * 32, None}
