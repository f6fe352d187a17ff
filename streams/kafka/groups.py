"""Where consumer groups stand, and writing where a new one begins."""

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as At

from streams.errors import Fenced, Transient
from streams.kafka.clients import Clients, move_group, resume
from streams.kafka.settings import CALL_SECONDS
from streams.kafka.topics import Topics
from streams.log import Standing
from streams.record import TopicPartition

PATIENCE = 1.0
"""Seconds. Transactions last some 10 to 100 ms, unless their owner died."""

_KEPT = 8

STARTING = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)
"""What a group's coordinator says while it moves or starts, and the client does not try again by itself."""

START_SECONDS = 30.0
"""How long writing a group's start may take, with others that do the same at once."""


class Groups:
    """The groups of a cluster. Thread-safe. prefix: begins the transactional ids under which starts are written.

    It asks through consumers that never join. The admin client has a call for it, which crashes the process where the group's
    coordinator has just moved or is starting (librdkafka 2.16: rd_kafka_handle_OffsetFetch without a group of its own).
    """

    def __init__(self, clients: Clients, topics: Topics, prefix: str) -> None:
        self._clients = clients
        self._topics = topics
        self._prefix = prefix
        self._lock = Lock()
        self._open: dict[tuple[str, str], Consumer] = {}  # by group and isolation level, the least recently used first

    def standings(self, group: str, ats: Sequence[At]) -> dict[TopicPartition, Standing]:
        """Where the group stands in these partitions; those where it has no position are left out. Raises Transient, Fatal.

        A transaction that is about to move it is waited for (KIP-447), so that whoever was told of a commit also finds it here;
        unless that takes long, because its owner died: then it counts as not committed.
        """
        with self._lock, self._clients.border(f"reading the positions of group {group}"):
            try:
                return _from_outside(self._outsider(group, "read_committed"), ats, PATIENCE)
            except KafkaException as exception:
                if exception.args[0].code() not in STARTING | {KafkaError._TIMED_OUT}:
                    raise
            return _from_outside(self._outsider(group, "read_uncommitted"), ats, CALL_SECONDS)
        raise AssertionError  # The border lets nothing through.

    def _outsider(self, group: str, level: str) -> Consumer:
        """A consumer that names the group and never joins it. Some are kept, because connecting takes 60 ms."""
        consumer = self._open.pop((group, level), None) or self._clients.outsider(group, level)
        self._open[group, level] = consumer
        if len(self._open) > _KEPT:
            self._open.pop(next(iter(self._open))).close()
        return consumer

    def ensure(self, group: str, topics: Iterable[str]) -> None:
        """Writes the group's start wherever it has no position. Raises TopicMissing, Transient, Fatal.

        Two creators may race, and the slower must not set back a group that the faster one's consumer already moved. So a start is
        written in a transaction whose id is the group's alone: whoever begins later fences the earlier, who then looks again.
        """
        ats = [At(topic, partition) for topic in topics for partition in range(self._topics.partitions(topic))]
        deadline = time.monotonic() + START_SECONDS
        while missing := self._missing(group, ats):
            try:
                self._write(group, missing)
                break
            except Fenced as error:
                if time.monotonic() > deadline:
                    raise Transient(f"the start of group {group} could not be written: others write it all the time") from error

    def _missing(self, group: str, ats: Sequence[At]) -> list[At]:
        there = self.standings(group, ats)
        return [at for at in ats if (at.topic, at.partition) not in there]

    def _write(self, group: str, ats: Sequence[At]) -> None:
        """Fences other creators, looks again, and writes what is still missing."""
        outsider = self._clients.outsider(group, "read_committed")
        try:
            with self._clients.border(f"writing the start of group {group}"):
                producer = self._clients.producer(f"{self._prefix}-{group}-start")
                deadline = time.monotonic() + START_SECONDS
                resume(deadline, bool, producer.init_transactions)
                there = _from_outside(outsider, ats, START_SECONDS)
                missing = [at for at in ats if (at.topic, at.partition) not in there]
                if missing:
                    bounds = self._topics.bounds(missing)
                    starts = [At(at.topic, at.partition, bounds[at.topic, at.partition].first) for at in missing]
                    producer.begin_transaction()
                    # Metadata that name the group and no member, which Kafka takes from outside the group.
                    move_group(deadline, bool, producer, starts, outsider.consumer_group_metadata())
                    resume(deadline, bool, producer.commit_transaction)
        finally:
            outsider.close()

    def close(self) -> None:
        """Lets go of the connections."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def _from_outside(consumer: Consumer, ats: Sequence[At], timeout: float) -> dict[TopicPartition, Standing]:
    """As `committed`. Where the group is refused to us, the client says so to who polls it, and nothing to who asks."""
    try:
        return committed(consumer, ats, timeout)
    except KafkaException as exception:
        told = consumer.poll(0) if exception.args[0].code() == KafkaError._TIMED_OUT else None
        refusal = told.error() if told is not None else None
        if refusal is None:
            raise
        raise KafkaException(refusal) from exception


def committed(consumer: Consumer, ats: Sequence[At], timeout: float) -> dict[TopicPartition, Standing]:
    """Where the consumer's group stands; partitions without a position are left out. Raises KafkaException."""
    found = answered(lambda left: consumer.committed(list(ats), timeout=left), timeout) if ats else []
    return {TopicPartition(at.topic, at.partition): Standing(at.offset, at.metadata or "") for at in found if at.offset != OFFSET_INVALID}


def answered(ask: Callable[[float], Sequence[At] | None], timeout: float) -> Sequence[At]:
    """What a group's coordinator says of positions, asked again while it starts. ask: given the seconds left. Raises KafkaException, also
    where a single position was refused."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = ask(max(0.1, deadline - time.monotonic())) or ()
            for at in found:
                if at.error is not None:
                    raise KafkaException(at.error)
        except KafkaException as exception:
            if exception.args[0].code() not in STARTING or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return found
    return {}
