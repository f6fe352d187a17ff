"""Reading without a group: by offset, by time, single records; and where groups stand."""

import time
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from streams.errors import TopicMissing
from streams.log import Log
from streams.record import Draft, TopicPartition


def _values(log: Log, topic: str, partition: int | None = None, **span: Any) -> list[bytes]:
    return [record.value for record in log.read(topic, partition, **span)]


def _numbers(start: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, end)]


@pytest.fixture
def numbered(log: Log, topic: Callable[[int], str]) -> str:
    """A topic of one partition with the numbers 0 to 999 in it, appended in tens."""
    name = topic(1)
    for start in range(0, 1000, 10):
        log.append([Draft(name, None, value) for value in _numbers(start, start + 10)])
    return name


def test_a_topic_is_read_one_partition_after_another(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(3)
    log.append([Draft(name, None, b"%d" % number, partition=number % 3) for number in range(9)])
    assert _values(log, name) == [b"0", b"3", b"6", b"1", b"4", b"7", b"2", b"5", b"8"]
    assert _values(log, name, 1) == [b"1", b"4", b"7"]


def test_offsets_bound_what_is_read(log: Log, numbered: str) -> None:
    offsets = [record.offset for record in log.read(numbered)]
    assert _values(log, numbered, 0, start=offsets[300], end=offsets[900]) == _numbers(300, 900)
    assert _values(log, numbered, start=offsets[990]) == _numbers(990, 1000)
    assert _values(log, numbered, end=offsets[3]) == _numbers(0, 3)
    assert _values(log, numbered, start=offsets[-1] + 1000) == []
    assert _values(log, numbered, start=offsets[5], end=offsets[5]) == []


def test_times_bound_what_is_read(log: Log, numbered: str) -> None:
    records = list(log.read(numbered))
    since, until = records[300].time, records[700].time
    expected = [record.value for record in records if since <= record.time < until]
    assert _values(log, numbered, since=since, until=until) == expected
    assert _values(log, numbered, since=since, until=since) == []
    assert _values(log, numbered, since=0) == _numbers(0, 1000)
    assert _values(log, numbered, until=records[0].time) == []
    assert _values(log, numbered, since=records[-1].time + 1) == []


def test_times_and_offsets_bound_together(log: Log, numbered: str) -> None:
    records = list(log.read(numbered))
    expected = [record.value for record in records[100:] if record.time < records[500].time]
    assert _values(log, numbered, start=records[100].offset, until=records[500].time) == expected


def test_a_reading_ends_at_what_was_there_when_it_began(log: Log, numbered: str) -> None:
    reading = log.read(numbered, 0)
    assert next(reading).value == b"0"
    log.append([Draft(numbered, None, b"late")])
    assert [record.value for record in reading] == _numbers(1, 1000)


def test_carried_records_are_read_and_say_so(log: Log, topic: Callable[[int], str]) -> None:
    """`pr_carried` does not stand among the headers, whatever the engine does with it."""
    name = topic(1)
    log.append([Draft(name, None, b"carried", (("a", b"b"),), carried=True), Draft(name, None, b"not")])
    assert [(record.value, record.carried, record.headers) for record in log.read(name)] == [
        (b"carried", True, (("a", b"b"),)),
        (b"not", False, ()),
    ]


def test_a_reading_can_leave_the_values_out(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    digest = sha256(b"a large value").digest()
    log.append([Draft(name, b"key", b"a large value", (("a", b"b"),), carried=True, digest=digest), Draft(name, None, b"small")])
    whole, bare = list(log.read(name)), list(log.read(name, values=False))
    assert [record.value for record in whole] == [b"a large value", b"small"]
    assert bare == [record._replace(value=b"", digest=None) for record in whole]
    assert [record.offset for record in log.read(name, 0, start=bare[1].offset, values=False)] == [bare[1].offset]


def test_fetch_brings_records_in_the_order_asked_for(log: Log, topic: Callable[[int], str]) -> None:
    names = [topic(2), topic(1)]
    drafts = [Draft(names[number % 2], b"%d" % number, b"value %d" % number, (("n", b"%d" % number),)) for number in range(40)]
    positions = [place.position for place in log.append(drafts)]
    asked = [*positions[20:], positions[3], *reversed(positions[:20]), positions[3]]
    by_position = dict(zip(positions, drafts, strict=True))
    for position, record in zip(asked, log.fetch(asked), strict=True):
        assert record is not None
        assert (record.topic, record.partition, record.offset) == position[1:]
        assert (record.key, record.value, record.headers) == (
            by_position[position].key,
            by_position[position].value,
            by_position[position].headers,
        )


def test_fetch_says_none_for_what_is_not_there(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(1)
    (place,) = log.append([Draft(name, None, b"there")])
    there = place.position
    strange = [
        there._replace(log="another log"),
        there._replace(topic="contract.nowhere"),
        there._replace(partition=7),
        there._replace(offset=there.offset + 1000),
        there._replace(offset=-1),
    ]
    found = log.fetch([strange[0], strange[1], there, strange[2], strange[3], there, strange[4]])
    assert [record and record.value for record in found] == [None, None, b"there", None, None, b"there", None]
    assert log.fetch([]) == []


def test_extents_bound_the_offsets_that_can_be_read(log: Log, topic: Callable[[int], str]) -> None:
    name = topic(2)
    assert [(extent.first, extent.end) for extent in log.extents(name)] == [(0, 0), (0, 0)]
    log.append([Draft(name, None, b"%d" % number, partition=1) for number in range(5)])
    empty, filled = log.extents(name)
    assert (empty.first, empty.end) == (0, 0)
    offsets = [record.offset for record in log.read(name, 1)]
    assert filled.first == offsets[0]
    assert filled.end > offsets[-1]


def test_topics_are_listed_with_their_partitions(log: Log, opened: Callable[[], Log], topic: Callable[[int], str]) -> None:
    one, three = topic(1), topic(3)
    other = opened()
    listed = other.topics()
    assert (listed[one], listed[three]) == (1, 3)
    assert [other.partitions(name) for name in (one, three, "contract.nowhere")] == [1, 3, 0]


def test_a_missing_topic_is_named(log: Log) -> None:
    for look in (
        lambda: log.extents("contract.nowhere"),
        lambda: list(log.read("contract.nowhere")),
        lambda: log.consumer("g", ["contract.nowhere"]),
    ):
        with pytest.raises(TopicMissing, match=r"contract\.nowhere"):
            look()


def test_standings_leave_out_what_is_not_there(log: Log, topic: Callable[[int], str], group: str) -> None:
    name = topic(2)
    assert log.standings(group, [name, "contract.nowhere"]) == {}
    log.ensure_group(group, [name])
    assert {at: standing.offset for at, standing in log.standings(group, [name, "contract.nowhere"]).items()} == {
        TopicPartition(name, 0): 0,
        TopicPartition(name, 1): 0,
    }


def test_a_long_reading_takes_no_more_memory_than_a_short_one(log: Log, topic: Callable[[int], str]) -> None:
    """60 MB of large values are read while less than half of them is in memory, however much is read ahead while somebody looks at one."""
    name = topic(1)
    for _ in range(60):
        log.append([Draft(name, None, bytes(1_000_000))])
    size = 0
    tracemalloc.start()
    try:
        for record in log.read(name):
            if size % 5_000_000 == 0:
                time.sleep(0.2)
            size += len(record.value)
        assert size == 60_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25_000_000
