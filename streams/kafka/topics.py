"""Topics of the cluster: which there are, their extents, making them, and what the broker has them set to."""

import time
from collections.abc import Container, Sequence
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec, TopicMetadata  # type: ignore[attr-defined]  # its way to export

from streams.errors import TopicMissing, Transient
from streams.kafka.clients import Clients
from streams.kafka.settings import CALL_SECONDS
from streams.log import Extent, TopicSpec

CREATE_SECONDS = 30.0
"""How long new topics may take until every partition has a leader."""


MOVE_SECONDS = 15.0
"""How long a partition may be without a leader: a broker that dies is taken for dead after 9 s, by stock settings."""

_MOVING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._NOENT,  # "No leaders found"
    }
)

_UNKNOWN = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE})

GRACE = 1.0
"""How long a transaction that is open at the end of a partition is waited for. They last some 10 to 100 ms, unless their owner died."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker has it. config: every topic setting with its value in force; max_message_bytes: the largest batch
    of records that it takes; replication: the copies of its least copied partition."""

    name: str
    partitions: int
    replication: int
    max_message_bytes: int
    config: dict[str, str]


class Topics:
    """The topics of a cluster. Thread-safe."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.admin = clients.admin()
        self._known: dict[str, int] = {}

    def all(self) -> dict[str, int]:
        """Every topic with its number of partitions, but for Kafka's own."""
        with self._clients.border("reading the topics"):
            found = self.admin.list_topics(timeout=CALL_SECONDS).topics
        return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}

    def partitions(self, topic: str) -> int:
        """The number of partitions, which never changes, and so is asked for once. Raises TopicMissing."""
        found = self._asked(topic, _UNKNOWN)
        if not found:
            time.sleep(0.5)  # a broker that just started does not know its topics yet
            found = self._asked(topic, _UNKNOWN)
        if not found:
            raise TopicMissing(f"topic {topic} does not exist at {self._clients.bootstrap}: `postroom topics` shows which there are")
        return found

    def count(self, topic: str) -> int:
        """As `partitions`, but 0 at once where there is no such topic, or none that we may see."""
        return self._asked(topic, _UNKNOWN | {KafkaError.TOPIC_AUTHORIZATION_FAILED})

    def _asked(self, topic: str, none: Container[int]) -> int:
        """The number of partitions as the broker tells it; 0 where its answer is an error of these codes."""
        known = self._known.get(topic, 0)
        if not known:
            with self._clients.border(f"reading topic {topic}"):
                found = self.admin.list_topics(topic, timeout=CALL_SECONDS).topics[topic]
                if found.error is not None:
                    if found.error.code() in none:
                        return 0
                    raise KafkaException(found.error)
            if known := len(found.partitions):
                self._known[topic] = known
        return known

    def extents(self, topic: str) -> list[Extent]:
        """See `Reader.extents`. end is the last stable offset: what lies beyond is not committed yet."""
        ats = [At(topic, partition) for partition in range(self.partitions(topic))]
        found = self.bounds(ats)
        return [found[topic, at.partition] for at in ats]

    def bounds(self, ats: Sequence[At]) -> dict[tuple[str, int], Extent]:
        """The extents of some partitions.

        A commit is durable a few ms before its marks stand in the partitions, from when on it can be read. So that whoever was told
        of a commit also finds it, what lies before an open end is given `GRACE` to become readable.
        """
        if not ats:
            return {}
        firsts = self._offsets(ats, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        tops = self._offsets(ats, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + GRACE
        while True:
            ends = self._offsets(ats, OffsetSpec.latest())  # type: ignore[no-untyped-call]
            if all(ends[at] >= tops[at] for at in tops) or time.monotonic() > deadline:
                return {at: Extent(firsts[at], ends[at]) for at in firsts}
            time.sleep(0.005)

    def _offsets(
        self, ats: Sequence[At], which: OffsetSpec, level: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[tuple[str, int], int]:
        deadline = time.monotonic() + MOVE_SECONDS
        while True:
            asked = self.admin.list_offsets(dict.fromkeys(ats, which), isolation_level=level, request_timeout=CALL_SECONDS / 2)
            try:
                found = {(at.topic, at.partition): _known(future.result().offset) for at, future in asked.items()}
            except KafkaException as exception:
                # A new topic, or one whose leader just died, is known to some brokers before others.
                if exception.args[0].code() not in _MOVING or time.monotonic() > deadline:
                    raise self._clients.error(exception, f"reading the offsets of {', '.join({at.topic for at in ats})}") from exception
                time.sleep(0.05)
                # Has the client look for the leaders again; left alone it would ask the old ones for minutes.
                self.all()
            else:
                return found

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """See `Log.create`."""
        there = self.all()
        new = [_new(spec) for spec in specs if spec.name not in there]
        if new:
            asked = self.admin.create_topics(new, operation_timeout=CREATE_SECONDS, request_timeout=CREATE_SECONDS)
            for name, future in asked.items():
                with self._clients.border(f"creating topic {name}"):
                    _ignore(future.exception(), KafkaError.TOPIC_ALREADY_EXISTS)
            self._wait([topic.topic for topic in new])

    def _wait(self, names: Sequence[str]) -> None:
        """Returns when every partition has a leader that answers for it."""
        deadline = time.monotonic() + CREATE_SECONDS
        while time.monotonic() < deadline:
            with self._clients.border("waiting for new topics"):
                found = self.admin.list_topics(timeout=CALL_SECONDS).topics
            if all(name in found and _led(found[name]) for name in names):
                self.bounds([At(name, partition) for name in names for partition in found[name].partitions])
                return
            time.sleep(0.05)
        raise Transient(f"topics {', '.join(names)} have no leaders yet at {self._clients.bootstrap}")

    def describe(self, names: Sequence[str]) -> dict[str, TopicState]:
        """What the broker has these topics set to, to be held against the settings. Topics that do not exist are left out.
        Raises Transient, Fatal."""
        with self._clients.border("reading the topics"):
            found = self.admin.list_topics(timeout=CALL_SECONDS).topics
        there = [name for name in names if name in found]
        if not there:
            return {}
        asked = self.admin.describe_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, name) for name in there], request_timeout=CALL_SECONDS
        )
        states = {}
        for resource, future in asked.items():
            with self._clients.border(f"reading the settings of topic {resource.name}"):
                config = {key: entry.value or "" for key, entry in future.result().items() if not entry.is_sensitive}
            partitions = found[resource.name].partitions.values()
            replication = min((len(partition.replicas) for partition in partitions), default=0)
            states[resource.name] = TopicState(resource.name, len(partitions), replication, int(config["max.message.bytes"]), config)
        return states


def _new(spec: TopicSpec) -> NewTopic:
    """A topic as we want it. The broker stamps the records (LogAppendTime), whatever time a producer claims."""
    config = {"message.timestamp.type": "LogAppendTime", **spec.config}
    if spec.retention is not None:
        config["retention.ms"] = str(int(spec.retention * 1000))
    return NewTopic(spec.name, spec.partitions, -1 if spec.replication is None else spec.replication, config=config)


def _known(offset: int) -> int:
    """The offset that a broker told. librdkafka says OFFSET_INVALID, and no error, where it was still looking for the leader."""
    if offset < 0:
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return offset


def _led(topic: TopicMetadata) -> bool:
    return topic.error is None and bool(topic.partitions) and all(part.leader >= 0 for part in topic.partitions.values())


def _ignore(error: BaseException | None, code: int) -> None:
    """Raises the error, unless it is of that code."""
    if error is not None and not (isinstance(error, KafkaException) and error.args[0].code() == code):
        raise error
