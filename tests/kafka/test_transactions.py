"""Assignment lost, fenced, abortable, fatal: each made to happen on a real broker, and each followed by going on."""

import threading
import time
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from streams.errors import Fatal, Fenced, TooLarge, Transient
from streams.kafka import KafkaLog, appends, transactions
from streams.kafka.consumer import KafkaConsumer
from streams.kafka.messages import produce
from streams.log import Consumer
from streams.record import Draft, Record, TopicPartition
from tests.contract.waiting import records_from, until
from tests.kafka.conftest import Opened

pytestmark = pytest.mark.kafka


def _behind(records: Sequence[Record]) -> dict[TopicPartition, int]:
    return {record.at: record.offset + 1 for record in records}


def _values(log: KafkaLog, topic: str) -> list[bytes]:
    return [record.value for record in log.read(topic)]


def _takes_over(consumer: Consumer) -> None:
    """Waits until it has its transactional id, for which it asks in the background."""
    assert isinstance(consumer, KafkaConsumer)
    assert consumer._pipeline.settle(30)


def test_an_assignment_lost_fences_the_commit_and_the_next_poll_tells(
    log: KafkaLog, opened: Opened, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    """A member that does not poll for max.poll.interval.ms leaves; who takes over gets what it had in hand."""
    source, target = topic(), topic()
    log.append([Draft(source, None, b"one")])
    revoked: list[frozenset[int]] = []
    slow_log = opened(max_poll_interval_ms="6000")
    slow = closing(slow_log.consumer(group, [source], on_revoked=revoked.append))
    in_hand = records_from(slow, 1)
    heir = closing(log.consumer(group, [source]))
    taken = records_from(heir, 1)
    with pytest.raises(Fenced):
        slow.commit([Draft(target, None, b"from the slow one")], _behind(in_hand)).result()
    until(lambda: bool(revoked), lambda: slow.poll(10, 0.1), "to be told of the loss")
    assert slow.assigned == frozenset()
    heir.commit([Draft(target, None, b"from the heir")], _behind(taken)).result()
    heir.close()
    slow.rewind()
    until(lambda: bool(slow.assigned), lambda: slow.poll(10, 0.1), "the partition again")
    slow.commit([Draft(target, None, b"from the slow one, afresh")], {TopicPartition(source, 0): 1}).result()
    assert _values(log, target) == [b"from the heir", b"from the slow one, afresh"]


def test_a_worker_of_the_same_slot_fences_the_one_before_it(
    opened: Opened, topic: Callable[..., str], group: str, log: KafkaLog, closing: Callable[[Consumer], Consumer]
) -> None:
    source, target = topic(2), topic()
    log.append([Draft(source, None, b"one", partition=0)])
    old = closing(opened(slot=f"{group}-twice").consumer(group, [source]))
    records = records_from(old, 1)
    _takes_over(old)
    new = closing(opened(slot=f"{group}-twice").consumer(group, [source]))
    _takes_over(new)
    commit = old.commit([Draft(target, None, b"out")], _behind(records))
    with pytest.raises(Fenced):
        commit.result()
    assert _values(log, target) == []
    new.close()
    old.rewind()
    again = records_from(old, 1)
    old.commit([Draft(target, None, b"out")], _behind(again)).result()
    assert _values(log, target) == [b"out"]


def test_two_workers_that_fight_over_a_slot_are_told_so(
    opened: Opened, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    target = topic()
    logs = [opened(slot=f"{group}-twice") for _ in range(2)]
    fighters = [closing(log.consumer(group, [topic()])) for log in logs]

    def fight() -> None:
        for _ in range(20):
            for fighter in fighters:
                try:
                    fighter.commit([Draft(target, None, b"out")], {}).result()
                except Fenced:
                    fighter.rewind()

    with pytest.raises(Fatal, match="--slot"):
        fight()


@pytest.mark.parametrize(
    ("output", "note", "error"),
    [
        pytest.param(b"x" * 5000, "", TooLarge, id="a record that the topic does not take"),
        pytest.param(b"small", "n" * 5000, Fatal, id="a note that the broker does not take"),
    ],
)
def test_an_abortable_error_leaves_nothing_and_after_rewind_it_goes_on(
    log: KafkaLog,
    topic: Callable[..., str],
    group: str,
    closing: Callable[[Consumer], Consumer],
    output: bytes,
    note: str,
    error: type[Exception],
) -> None:
    source, target, small = topic(), topic(), topic(max_message_bytes="2000")
    log.append([Draft(source, None, b"one")])
    consumer = closing(log.consumer(group, [source]))
    records = records_from(consumer, 1)
    with pytest.raises(error):
        consumer.commit([Draft(target, None, b"good"), Draft(small, None, output)], _behind(records), {records[0].at: note}).result()
    assert _values(log, target) == []
    consumer.rewind()
    again = records_from(consumer, 1)
    consumer.commit([Draft(target, None, b"good")], _behind(again)).result()
    assert _values(log, target) == [b"good"]


def test_records_that_each_fit_are_taken_though_their_batch_would_not(
    log: KafkaLog, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    """max.message.bytes limits a batch, and the client makes batches without knowing it."""
    small = topic(max_message_bytes="2000")
    consumer = closing(log.consumer(group, [topic()]))
    consumer.commit([Draft(small, None, b"x" * 1000) for _ in range(10)], {}).result()
    log.append([Draft(small, None, b"x" * 1000) for _ in range(10)])
    assert len(_values(log, small)) == 20


def test_a_fatal_error_of_the_producer_leaves_nothing_and_rewind_brings_a_new_one(
    log: KafkaLog,
    opened: Opened,
    topic: Callable[..., str],
    group: str,
    closing: Callable[[Consumer], Consumer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that is frozen within a transaction finds it ended by the broker: its producer is then good for nothing."""
    source, target = topic(), topic()
    log.append([Draft(source, None, b"one")])
    consumer = closing(opened(transaction_timeout_ms="1000", delivery_timeout_ms="1000").consumer(group, [source]))
    records = records_from(consumer, 1)

    def frozen(producer: Producer, draft: Draft, _report: object = None) -> None:
        """Sends the record, and lets more time pass than the transaction has. The broker looks every 10 s, and writes a mark."""
        produce(producer, draft)
        producer.flush()
        top = log.extents(target)[0].end
        until(lambda: log.extents(target)[0].end > top, lambda: time.sleep(0.1), "the broker to end the transaction")

    monkeypatch.setattr(transactions, "produce", frozen)
    with pytest.raises(Fenced) as caught:
        consumer.commit([Draft(target, None, b"late")], _behind(records)).result()
    cause = caught.value.__cause__
    assert isinstance(cause, KafkaException)
    assert cause.args[0].code() == KafkaError._FENCED
    assert cause.args[0].fatal()
    monkeypatch.undo()
    consumer.rewind()
    again = records_from(consumer, 1)
    consumer.commit([Draft(target, None, b"in time")], _behind(again)).result()
    assert _values(log, target) == [b"in time"]


def test_a_rebalance_in_the_middle_of_commits_fences_nobody_who_keeps_its_partitions(
    log: KafkaLog, opened: Opened, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    """Each rebalance makes a new generation; a commit under the last one is sent again under the new."""
    source, target = topic(4), topic()
    first = closing(log.consumer(group, [source]))
    until(lambda: len(first.assigned) == 4, lambda: first.poll(10, 0.1), "all partitions")
    stop = threading.Event()

    def come_and_go() -> None:
        other = opened()
        for _ in range(3):
            member = other.consumer(group, [source])
            until(lambda member=member: bool(member.assigned), lambda member=member: member.poll(10, 0.1), "a share")  # type: ignore[misc]
            member.close()
        stop.set()

    guest = threading.Thread(target=come_and_go)
    guest.start()
    count = 0
    while not stop.is_set():
        first.poll(10, 0.01)
        first.commit([Draft(target, None, b"%d" % count)], {TopicPartition(source, number): 0 for number in first.assigned}).result()
        count += 1
    guest.join()
    assert _values(log, target) == [b"%d" % number for number in range(count)]


def test_commits_that_wait_share_a_transaction(
    opened: Opened, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    """Each transaction leaves one mark in the partition, which takes an offset."""
    log, target = opened(), topic()
    consumer = closing(log.consumer(group, [topic()]))
    commits = [consumer.commit([Draft(target, None, b"%d" % number)], {}) for number in range(50)]
    for commit in commits:
        commit.result()
    assert _values(log, target) == [b"%d" % number for number in range(50)]
    assert log.extents(target)[0].end - 50 <= 3


def test_a_closed_log_takes_no_append(opened: Opened, topic: Callable[..., str]) -> None:
    log, name = opened(), topic()
    log.append([Draft(name, None, b"one")])
    log.close()
    with pytest.raises(Transient):
        log.append([Draft(name, None, b"two")])


def test_an_append_that_a_close_overtook_ends_too(opened: Opened, topic: Callable[..., str]) -> None:
    log, name = opened(), topic()
    log.append([Draft(name, None, b"one")])
    producing = log._appends._producing()
    log.close()
    with pytest.raises(KafkaException):
        producing.append(Draft(name, None, b"two"))


def test_an_append_of_which_the_broker_does_not_tell_the_place_ends_too(
    opened: Opened, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, name = opened(), topic()

    class Placeless:
        partition, offset = (lambda _: 0), (lambda _: None)

    monkeypatch.setattr(appends, "produce", lambda _producer, _draft, report: report(None, Placeless()))
    with pytest.raises(Transient):
        log.append([Draft(name, None, b"one")])
