"""One consumer: what it gets, and what a commit does."""

import threading
from collections.abc import Callable

import pytest

from streams.errors import LogError, TooLarge, TopicMissing
from streams.log import Log, Standing
from streams.record import Draft, Record, TopicPartition
from tests.contract.conftest import Join
from tests.contract.engines import Engine
from tests.contract.waiting import records_from, until


def _fill(log: Log, topic: str, count: int, partitions: int = 1, start: int = 0) -> None:
    log.append([Draft(topic, None, b"%d" % number, partition=number % partitions) for number in range(start, start + count)])


def _numbers(records: list[Record]) -> list[int]:
    return [int(record.value) for record in records]


def test_a_new_group_begins_with_the_oldest_record(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    _fill(log, name, 3)
    assert _numbers(records_from(join(group, name), 3)) == [0, 1, 2]


def test_a_group_that_was_only_created_misses_nothing_appended_since(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    log.ensure_group(group, [name])
    _fill(log, name, 3)
    assert _numbers(records_from(join(group, name), 3)) == [0, 1, 2]


def test_each_record_comes_once_and_in_order_per_partition(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(3)
    consumer = join(group, name)
    for start in range(0, 300, 100):
        _fill(log, name, 100, 3, start)
    records = records_from(consumer, 300, limit=17)
    assert sorted(_numbers(records)) == list(range(300))
    for partition in range(3):
        numbers = _numbers([record for record in records if record.partition == partition])
        assert numbers == sorted(numbers)


def test_a_batch_is_no_larger_than_asked_for_and_tells_the_positions_after_it(
    log: Log, topic: Callable[[int], str], group: str, join: Join
) -> None:
    name = topic(2)
    consumer = join(group, name)
    _fill(log, name, 50, 2)
    last: dict[TopicPartition, int] = {}
    got = 0
    while got < 50:
        batch = consumer.poll(7, 5)
        assert len(batch.records) <= 7
        for record in batch.records:
            assert record.offset >= last.get(record.at, 0)
            assert batch.positions[record.at] > record.offset
        last |= batch.positions
        got += len(batch.records)


def test_what_was_committed_does_not_come_again(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(2)
    _fill(log, name, 10, 2)
    consumer = join(group, name)
    batch = consumer.poll(1000, 0)
    while len(batch.records) < 10:
        more = consumer.poll(1000, 1)
        batch = batch._replace(records=batch.records + more.records, positions=batch.positions | more.positions)
    consumer.commit([], batch.positions).result()
    consumer.close()
    _fill(log, name, 2, 2, start=10)
    assert sorted(_numbers(records_from(join(group, name), 2))) == [10, 11]


def test_groups_do_not_know_of_each_other(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    _fill(log, name, 5)
    one = join(group, name)
    one.commit([], {record.at: record.offset + 1 for record in records_from(one, 5)}).result()
    assert _numbers(records_from(join(f"{group}.other", name), 5)) == [0, 1, 2, 3, 4]


def test_a_commit_appends_and_moves_the_group_together(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    source, target = topic(1), topic(1)
    _fill(log, source, 3)
    consumer = join(group, source)
    records = records_from(consumer, 3)
    position = {records[-1].at: records[-1].offset + 1}
    consumer.commit([Draft(target, record.key, record.value, record.headers, carried=True) for record in records], position).result()
    assert _numbers(list(log.read(target))) == [0, 1, 2]
    assert {at: standing.offset for at, standing in log.standings(group, [source]).items()} == position


@pytest.mark.parametrize("fault", [TooLarge, TopicMissing])
def test_a_commit_that_fails_leaves_nothing_and_those_after_it_fail_until_rewind(
    engine: Engine, log: Log, topic: Callable[[int], str], group: str, join: Join, fault: type[LogError], request: pytest.FixtureRequest
) -> None:
    if fault is TooLarge and engine.largest is None:
        request.applymarker(
            pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason=f"{engine.name} takes a record of any size")
        )
    source, target = topic(1), topic(1)
    _fill(log, source, 3)
    consumer = join(group, source)
    first, second, third = records_from(consumer, 3)
    before = consumer.commit([Draft(target, None, b"first")], {first.at: first.offset + 1})
    bad = {TooLarge: Draft(target, None, bytes(2 * (engine.largest or 1 << 20))), TopicMissing: Draft("contract.nowhere", None, b"")}[fault]
    failing = consumer.commit([Draft(target, None, b"second"), bad], {second.at: second.offset + 1})
    after = consumer.commit([Draft(target, None, b"third")], {third.at: third.offset + 1})
    before.result()
    with pytest.raises(fault):
        failing.result()
    with pytest.raises(LogError):
        after.result()
    assert [record.value for record in log.read(target)] == [b"first"]
    assert log.standings(group, [source])[first.at].offset == first.offset + 1
    assert consumer.fenced
    consumer.rewind()
    assert not consumer.fenced
    assert _numbers(records_from(consumer, 2)) == [1, 2]
    consumer.commit([Draft(target, None, b"second")], {second.at: second.offset + 1}).result()
    assert [record.value for record in log.read(target)] == [b"first", b"second"]


def test_commits_become_durable_in_the_order_they_were_given(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    source, target = topic(1), topic(1)
    _fill(log, source, 50)
    consumer = join(group, source)
    futures = [
        consumer.commit([Draft(target, None, record.value)], {record.at: record.offset + 1}) for record in records_from(consumer, 50)
    ]
    futures[-1].result()
    assert all(future.done() for future in futures)
    assert _numbers(list(log.read(target))) == list(range(50))


def test_rewind_brings_again_what_was_not_committed(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    _fill(log, name, 6)
    consumer = join(group, name)
    records = records_from(consumer, 6)
    consumer.commit([], {records[1].at: records[1].offset + 1})
    consumer.rewind()
    assert _numbers(records_from(consumer, 4)) == [2, 3, 4, 5]


def test_a_paused_partition_brings_nothing_until_it_is_resumed(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(2)
    consumer = join(group, name)
    until(lambda: consumer.assigned == {0, 1}, lambda: consumer.poll(1, 0.1), "both partitions")
    paused = TopicPartition(name, 1)
    consumer.pause([paused])
    _fill(log, name, 10, 2)
    assert _numbers(records_from(consumer, 5)) == [0, 2, 4, 6, 8]
    assert consumer.poll(10, 0.2).records == []
    consumer.rewind()
    assert _numbers(records_from(consumer, 5)) == [0, 2, 4, 6, 8]
    assert consumer.assigned == {0, 1}
    consumer.resume([paused])
    assert _numbers(records_from(consumer, 5)) == [1, 3, 5, 7, 9]


def test_seek_changes_what_comes_next_and_not_where_the_group_stands(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    _fill(log, name, 6)
    consumer = join(group, name)
    records = records_from(consumer, 6)
    at = records[0].at
    before = log.standings(group, [name])
    consumer.seek(at, records[4].offset)
    assert _numbers(records_from(consumer, 2)) == [4, 5]
    assert log.standings(group, [name]) == before
    consumer.seek(at, records[1].offset)
    consumer.rewind()
    assert _numbers(records_from(consumer, 6)) == [0, 1, 2, 3, 4, 5]


def test_carried_records_are_passed_over_and_the_positions_cover_them(
    log: Log, topic: Callable[[int], str], group: str, join: Join
) -> None:
    name = topic(1)
    log.append([Draft(name, None, b"%d" % number, carried=number != 600) for number in range(1000)])
    consumer = join(group, name)
    at = TopicPartition(name, 0)
    records: list[Record] = []
    position = 0
    *_, last = log.read(name)

    def look() -> None:
        nonlocal position
        batch = consumer.poll(5, 0.1)
        records.extend(batch.records)
        position = batch.positions.get(at, position)

    until(lambda: position > last.offset, look, "the position after the last carried record")
    assert [(record.value, record.carried) for record in records] == [(b"600", False)]
    consumer.commit([], {at: position}).result()
    consumer.close()
    log.append([Draft(name, None, b"1000")])
    assert _numbers(records_from(join(group, name), 1)) == [1000]


def test_notes_stand_beside_the_position_and_are_found_by_the_next_owner(
    log: Log, topic: Callable[[int], str], group: str, join: Join
) -> None:
    one, two = topic(2), topic(2)
    _fill(log, one, 4, 2)
    consumer = join(group, one, two)
    records = records_from(consumer, 4)
    noted, other = TopicPartition(one, 0), TopicPartition(two, 0)
    offset = max(record.offset for record in records if record.at == noted) + 1
    assert consumer.notes(0) == {noted: Standing(0, ""), other: Standing(0, "")}
    consumer.note({noted: "tried once", other: 'with "quotes", ä and \n'})
    assert log.standings(group, [one])[noted] == Standing(0, "tried once")
    consumer.commit([], {noted: offset}, {noted: "committed"}).result()
    consumer.close()
    next_owner = join(group, one, two)
    until(lambda: next_owner.assigned == {0, 1}, lambda: next_owner.poll(10, 0.1), "both partitions")
    assert next_owner.notes(0) == {noted: Standing(offset, "committed"), other: Standing(0, 'with "quotes", ä and \n')}
    next_owner.commit([], {noted: offset}).result()
    assert log.standings(group, [one])[noted] == Standing(offset, "")


def test_a_poll_that_waits_ends_with_the_first_record(
    log: Log, topic: Callable[[int], str], group: str, join: Join, opened: Callable[[], Log]
) -> None:
    """Whether this log object wrote it or another."""
    name = topic(1)
    consumer = join(group, name)
    until(lambda: consumer.assigned == {0}, lambda: consumer.poll(1, 0.1), "the partition")
    for number, writer in enumerate((log, opened())):
        _fill(writer, name, 1, start=number)
        assert _numbers(consumer.poll(10, 60).records) == [number]
    assert consumer.poll(10, 0).records == []


def test_topics_that_share_a_group_member_must_have_equal_partitions(log: Log, topic: Callable[[int], str], group: str) -> None:
    one, two = topic(1), topic(2)
    with pytest.raises(LogError, match=one):
        log.consumer(group, [one, two])


def test_a_poll_that_waits_comes_back_when_it_is_woken(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    """And one that begins just then."""
    name = topic(1)
    consumer = join(group, name)
    consumer.poll(1, 0.0)
    threading.Timer(0.2, consumer.wake).start()
    assert consumer.poll(1, 10_000.0).records == []
    consumer.wake()
    assert consumer.poll(1, 10_000.0).records == []
    _fill(log, name, 1)
    assert _numbers(records_from(consumer, 1)) == [0]
