"""The bare transactional loop: consume, write the same bytes, move the group, commit; with the commit interval of our log.

It decides nothing: what is written for a mail is what the chain said of one of the first mails, taken in turn.
"""

import itertools
import time

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka import TopicPartition as At

from benchmarks.peers.deciding import told
from streams.kafka.engine import COMMIT_INTERVAL
from streams.kafka.messages import produce
from streams.kafka.pipeline import RECORDS
from streams.kafka.settings import CONSUMER, FIXED, LINGER_MS, PRODUCER, TRANSACTION_MS
from streams.record import Draft

SAMPLE = 1_000
_PRODUCING = ("enable.idempotence", "acks", "partitioner")


def main() -> None:
    """Goes round until it is ended."""
    here, stage, group = told()
    said = [draft for draft in stage.process(list(itertools.islice(here.log.read(here.topics.raw), SAMPLE))) if isinstance(draft, list)]
    bootstrap = here.settings.log.url.removeprefix("kafka://")
    consuming = {key: value for key, value in FIXED.items() if key not in _PRODUCING} | {"auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, **CONSUMER, **consuming, "enable.partition.eof": "false"})
    ours: dict[str, str | int] = {"transactional.id": group, "transaction.timeout.ms": TRANSACTION_MS, "linger.ms": LINGER_MS}
    ours["delivery.report.only.error"] = True
    producer = Producer({"bootstrap.servers": bootstrap, **PRODUCER, **{key: FIXED[key] for key in _PRODUCING}, **ours})
    producer.init_transactions()
    consumer.subscribe([here.topics.raw])
    turn = itertools.cycle(said)
    while True:
        first = consumer.consume(500, 0.05)
        if first:
            _transaction(consumer, producer, first, turn)


def _transaction(consumer: Consumer, producer: Producer, messages: list[Message], turn: "itertools.cycle[list[Draft]]") -> None:
    """One transaction, of an interval or so many records."""
    until, written = time.monotonic() + COMMIT_INTERVAL, 0
    positions: dict[tuple[str | None, int | None], int] = {}
    producer.begin_transaction()
    while messages:
        for message in messages:
            for draft in next(turn):
                produce(producer, draft)
                written += 1
            offset = message.offset()
            assert offset is not None
            positions[message.topic(), message.partition()] = offset + 1
        messages = consumer.consume(500, 0.01) if time.monotonic() < until and written < RECORDS else []
    moves = [At(str(topic), int(partition or 0), offset) for (topic, partition), offset in positions.items()]
    producer.send_offsets_to_transaction(moves, consumer.consumer_group_metadata())
    producer.commit_transaction()


if __name__ == "__main__":
    main()
