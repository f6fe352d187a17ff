"""Where groups start, where they stand at the end, and what happens when retention overtakes them."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import TopicPartition as At

from streams.errors import PositionExpired
from streams.kafka import KafkaLog
from streams.kafka import consumer as consuming
from streams.log import Consumer, Extent, TopicSpec
from streams.record import Draft, Record, TopicPartition
from tests.broker.broker import Cluster
from tests.broker.shared import demand
from tests.contract.waiting import records_from, until
from tests.kafka.conftest import Opened

pytestmark = pytest.mark.kafka


@pytest.fixture
def forgetful() -> Iterator[str]:
    """The address of a broker that keeps what a group at work does not write for a minute. As shipped it is a week."""
    demand()
    with Cluster(1, {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "1000"}) as cluster:
        yield cluster.bootstrap


def test_a_slow_creator_does_not_set_back_a_group_that_has_moved_meanwhile(
    log: KafkaLog, opened: Opened, topic: Callable[..., str], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = topic()
    at = TopicPartition(name, 0)
    log.append([Draft(name, None, b"%d" % number) for number in range(5)])
    slow, looked, go_on = opened(), threading.Event(), threading.Event()
    bounds = slow._topics.bounds

    def wait(ats: list[At]) -> dict[tuple[str, int], Extent]:
        """It has seen that the group has no start, and writes one next."""
        looked.set()
        assert go_on.wait(60)
        return bounds(ats)

    monkeypatch.setattr(slow._topics, "bounds", wait)
    creator = threading.Thread(target=slow.ensure_group, args=(group, [name]))
    creator.start()
    assert looked.wait(60)
    consumer = log.consumer(group, [name])
    records_from(consumer, 5)
    consumer.commit([], {at: 3}).result()
    consumer.close()
    go_on.set()
    creator.join()
    assert log.standings(group, [name])[at].offset == 3


def test_many_creators_at_once_agree(opened: Opened, topic: Callable[..., str], group: str, log: KafkaLog) -> None:
    name = topic(4)
    creators = [threading.Thread(target=opened().ensure_group, args=(group, [name])) for _ in range(4)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    assert {at.partition: standing.offset for at, standing in log.standings(group, [name]).items()} == {0: 0, 1: 0, 2: 0, 3: 0}


def test_a_group_whose_members_work_gets_a_start_in_a_further_topic(
    log: KafkaLog, opened: Opened, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    first, second = topic(), topic()
    member = closing(log.consumer(group, [first]))
    until(lambda: bool(member.assigned), lambda: member.poll(1, 0.1), "the partition")
    opened().ensure_group(group, [first, second])
    assert log.standings(group, [second])[TopicPartition(second, 0)].offset == 0


def test_a_position_that_retention_took_is_a_clear_stop(
    log: KafkaLog, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    name = topic()
    log.append([Draft(name, None, b"%d" % number) for number in range(10)])
    log.ensure_group(group, [name])
    (deleted,) = log._topics.admin.delete_records([At(name, 0, 5)]).values()
    deleted.result()
    assert log.extents(name)[0].first == 5
    consumer = closing(log.consumer(group, [name]))
    for _ in range(2):
        with pytest.raises(PositionExpired, match=rf"group {group} stands at 0 in {name}\[0\]"):
            until(lambda: False, lambda: consumer.poll(10, 0.2), "the stop")
    consumer.seek(TopicPartition(name, 0), 5)
    assert [record.offset for record in records_from(consumer, 5)] == [5, 6, 7, 8, 9]


def test_a_position_that_retention_took_is_a_clear_stop_however_busy_the_other_partitions_are(
    log: KafkaLog, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    name = topic(2)
    log.append([Draft(name, None, b"%d" % number, partition=0) for number in range(10)])
    for _ in range(10):
        log.append([Draft(name, None, b"%d" % number, partition=1) for number in range(3000)])
    consumer = closing(log.consumer(group, [name]))
    busy: list[Record] = []
    until(lambda: len(busy) > 100, lambda: busy.extend(consumer.poll(1, 0.2).records), "the first records")
    (deleted,) = log._topics.admin.delete_records([At(name, 0, 5)]).values()
    deleted.result()
    consumer.seek(TopicPartition(name, 0), 0)
    with pytest.raises(PositionExpired, match=rf"{name}\[0\]"):
        until(lambda: len(busy) == 30_000, lambda: busy.extend(consumer.poll(1, 0.2).records), "the stop")
    assert len(busy) < 30_000


def test_positions_in_topics_that_are_read_by_hand_outlive_the_brokers_memory(
    forgetful: str, opened: Opened, group: str, closing: Callable[[Consumer], Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is subscribed to the first topic only, and in the others nothing happens for longer than the broker keeps positions."""
    monkeypatch.setattr(consuming, "RENEW_SECONDS", 5.0)
    log = opened(bootstrap=forgetful)
    busy, quiet = f"{group}.busy", f"{group}.quiet"
    log.create([TopicSpec(name, 1) for name in (busy, quiet)])
    consumer = closing(log.consumer(group, [busy, quiet]))
    until(lambda: bool(consumer.assigned), lambda: consumer.poll(1, 0.1), "the partition")
    at = TopicPartition(quiet, 0)
    consumer.note({at: "a note"})
    end = time.monotonic() + 75
    while time.monotonic() < end:
        consumer.poll(1, 0.5)
    assert log.standings(group, [quiet]) == {at: (0, "a note")}
    consumer.rewind()
    assert consumer.notes(0)[at].note == "a note"


def test_a_position_beyond_the_end_is_a_clear_stop(
    log: KafkaLog, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    """As where a topic was deleted and made anew."""
    name = topic()
    consumer = closing(log.consumer(group, [name]))
    until(lambda: bool(consumer.assigned), lambda: consumer.poll(1, 0.1), "the partition")
    consumer.commit([], {TopicPartition(name, 0): 1000}).result()
    consumer.rewind()
    with pytest.raises(PositionExpired):
        until(lambda: False, lambda: consumer.poll(10, 0.2), "the stop")


def test_a_group_that_has_read_all_stands_at_the_end_though_transactions_left_marks_there(
    log: KafkaLog, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    name = topic(2)
    log.append([Draft(name, None, b"%d" % number, partition=number % 2) for number in range(10)])
    consumer = closing(log.consumer(group, [name]))

    def stands_at_the_end() -> bool:
        standings = log.standings(group, [name])
        return [standings[TopicPartition(name, number)].offset for number in range(2)] == [extent.end for extent in log.extents(name)]

    def step() -> None:
        batch = consumer.poll(100, 0.1)
        if batch.positions:
            consumer.commit([], batch.positions).result()

    until(stands_at_the_end, step, "the group to stand at the end")
    assert [extent.end for extent in log.extents(name)] == [6, 6]
