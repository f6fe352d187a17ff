"""Records of foreign producers, offsets with gaps, single records by position, and what the broker has topics set to."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka import TopicPartition as At

from streams.errors import TopicMissing, Transient
from streams.kafka import KafkaLog, fetching
from streams.log import Consumer, Extent, TopicSpec
from streams.record import CARRIED, Draft, Position
from tests.broker.broker import java
from tests.contract.waiting import records_from
from tests.kafka.conftest import Opened

pytestmark = pytest.mark.kafka


def test_what_the_console_producer_writes_reads_fine(
    log: KafkaLog, address: str, topic: Callable[..., str], group: str, closing: Callable[[Consumer], Consumer]
) -> None:
    """Bare bytes: no key, no headers."""
    name = topic(2)
    lines = [b"From: a@example.org", b"\xff\x00 not text", b""]
    java("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", address, "--topic", name, stdin=b"\n".join(lines) + b"\n")
    records = records_from(closing(log.consumer(group, [name])), 3)
    assert [(record.key, record.headers, record.carried, record.digest) for record in records] == [(None, (), False, None)] * 3
    # The console producer itself decodes its lines as UTF-8.
    assert sorted(record.value for record in records) == sorted(line.decode(errors="replace").encode() for line in lines)
    assert sorted(log.read(name)) == sorted(records)
    assert all(record.time > 1_700_000_000_000 for record in records)


def test_a_record_with_a_time_headers_and_marks_of_a_foreign_producers_own_reads_fine(
    log: KafkaLog, address: str, topic: Callable[..., str]
) -> None:
    """Header values may be absent, a name may stand twice, the value may be absent, and the time may be any."""
    name = topic()
    producer = Producer({"bootstrap.servers": address})
    headers: list[tuple[str, str | bytes | None]] = [("a", b"1"), ("a", None), (CARRIED, b"no"), ("ü", b"\xff")]
    producer.produce(name, None, b"key", headers=headers, timestamp=1)
    producer.flush()
    (record,) = log.read(name)
    assert (record.key, record.value, record.carried) == (b"key", b"", False)
    assert record.headers == (("a", b"1"), ("a", b""), ("ü", b"\xff"))
    assert record.time > 1_700_000_000_000


def _abort(address: str, topic: str, count: int) -> None:
    """Leaves records of a transaction that was aborted."""
    producer = Producer({"bootstrap.servers": address, "transactional.id": f"abort-{topic}"})
    producer.init_transactions()
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, b"aborted %d" % number, partition=0)
    producer.flush()
    producer.abort_transaction()


def test_gaps_that_transactions_leave_hold_up_no_reading(log: KafkaLog, address: str, topic: Callable[..., str]) -> None:
    """Marks and aborted records take offsets, in the middle and at the end."""
    name = topic()
    log.append([Draft(name, None, b"0"), Draft(name, None, b"1")])  # offsets 0 and 1, a mark at 2
    _abort(address, name, 3)  # 3 to 5, a mark at 6
    log.append([Draft(name, None, b"2")])  # 7
    _abort(address, name, 3)  # 8 to 10, a mark at 11
    assert log.extents(name)[0].end == 12
    assert [(record.offset, record.value) for record in log.read(name)] == [(0, b"0"), (1, b"1"), (7, b"2")]
    assert [record.offset for record in log.read(name, 0, start=2, end=7)] == []
    assert [record.offset for record in log.read(name, 0, start=3, end=10)] == [7]
    fetched = log.fetch([Position(log.id, name, 0, offset) for offset in range(14)])
    assert [record.value if record else None for record in fetched] == [b"0", b"1", *[None] * 5, b"2", *[None] * 6]


def test_positions_that_ascend_are_fetched_by_reading_on(log: KafkaLog, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of the records is asked for, the consumer is not sent anywhere a second time."""
    name = topic(2)
    for _ in range(10):
        log.append([Draft(name, None, b"x" * 100, partition=number % 2) for number in range(200)])
    records = list(log.read(name))
    halves = [[record for record in records if record.partition == number] for number in range(2)]
    asked: list[int] = []
    bounds = log._topics.bounds

    def noted(ats: Sequence[At]) -> dict[tuple[str, int], Extent]:
        asked.append(len(ats))
        return bounds(ats)

    monkeypatch.setattr(log._topics, "bounds", noted)
    for start in range(0, 1000, 50):
        page = [record for half in halves for record in half[start : start + 50 : 3]]
        assert log.fetch([Position(log.id, record.topic, record.partition, record.offset) for record in page]) == page
    assert sum(asked) == 2


def test_after_an_error_of_one_partition_nothing_of_another_counts_as_gone(
    log: KafkaLog, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the broker's disk fails under one partition, and the client tells so between the records of the other."""
    name = topic(2)
    log.append([Draft(name, None, b"%d" % number, partition=number % 2) for number in range(200)])
    records = list(log.read(name))
    took: Callable[..., list[Any]] = vars(fetching)["take"]

    class Fault:
        topic, partition, offset = (lambda _: name), (lambda _: 1), (lambda _: None)

        def error(self) -> KafkaError:
            return KafkaError(KafkaError.KAFKA_STORAGE_ERROR)

    def faulty(*how: Any) -> list[Any]:
        messages = took(*how)
        if len(messages) > 1:
            monkeypatch.setattr(fetching, "take", took)
            return [messages[0], Fault(), *messages[1:]]
        return messages

    monkeypatch.setattr(fetching, "take", faulty)
    positions = [Position(log.id, record.topic, record.partition, record.offset) for record in records]
    with pytest.raises(Transient, match=rf"{name}\[1\]"):
        log.fetch(positions)
    assert log.fetch(positions) == records


def test_positions_come_in_the_order_asked_for_also_backwards_and_twice(log: KafkaLog, topic: Callable[..., str]) -> None:
    name = topic(3)
    log.append([Draft(name, None, b"%d" % number, partition=number % 3) for number in range(300)])
    records = list(log.read(name))
    asked = [*records[::-7], *records[:5], *records[:5]]
    assert log.fetch([Position(log.id, record.topic, record.partition, record.offset) for record in asked]) == asked


def test_a_position_that_expired_or_never_was_brings_none(log: KafkaLog, topic: Callable[..., str]) -> None:
    name = topic()
    log.append([Draft(name, None, b"%d" % number) for number in range(10)])
    first = log.fetch([Position(log.id, name, 0, 0)])
    assert first[0] is not None
    (deleted,) = log._topics.admin.delete_records([At(name, 0, 5)]).values()
    deleted.result()
    wanted = [
        (log.id, name, 0, 3),
        (log.id, name, 0, 7),
        ("another", name, 0, 7),
        (log.id, "missing", 0, 0),
        (log.id, name, 9, 0),
        (log.id, name, 0, 99),
    ]
    got = log.fetch([Position(*position) for position in wanted])
    assert [record.value if record else None for record in got[1:]] == [b"7", None, None, None, None]


def test_no_topic_is_made_by_accident(log: KafkaLog, group: str) -> None:
    """The run's broker would make one for any client that asks carelessly (auto.create.topics.enable, as in stock settings)."""
    missing = f"missing.{group}"
    for call in (
        lambda: log.append([Draft(missing, None, b"one")]),
        lambda: log.append([Draft(missing, None, b"one")] * 2),
        lambda: log.consumer(group, [missing]),
        lambda: log.ensure_group(group, [missing]),
        lambda: log.extents(missing),
        lambda: list(log.read(missing)),
    ):
        with pytest.raises(TopicMissing, match=missing):
            call()
    assert missing not in log.topics()


def test_describe_tells_what_the_broker_has_a_topic_set_to(log: KafkaLog, group: str) -> None:
    name = f"described.{group}"
    log.create([TopicSpec(name, 3, retention=3600.0, replication=1, config={"max.message.bytes": "2000000"})])
    states = log.describe([name, f"missing.{group}"])
    assert states.keys() == {name}
    state = states[name]
    assert (state.partitions, state.replication, state.max_message_bytes) == (3, 1, 2_000_000)
    assert (state.config["retention.ms"], state.config["message.timestamp.type"]) == ("3600000", "LogAppendTime")


def test_create_leaves_a_topic_that_is_there_as_it_is(log: KafkaLog, opened: Opened, topic: Callable[..., str]) -> None:
    name = topic(2)
    log.create([TopicSpec(name, 5, retention=1.0)])
    assert opened().topics()[name] == 2
