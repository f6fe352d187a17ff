"""Filling new topics with another log's records, and whether a log is being worked on.

While they are filled, topics keep the time that the producer gives (CreateTime) and drop nothing; then they are set to what they are
to be. A time that stands in a record stays what it is when the topic changes to LogAppendTime.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from confluent_kafka import ConsumerGroupState, IsolationLevel, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its way to export
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
)

from streams.copying import MARK, Occupied, Target
from streams.errors import Transient
from streams.kafka.engine import KafkaLog
from streams.kafka.groups import STARTING, answered
from streams.kafka.messages import produce
from streams.kafka.settings import SWEEP_MS, TRANSACTION_MS
from streams.log import Log, TopicSpec
from streams.record import Draft, TopicPartition

ORDER_SECONDS = 60.0
"""How long brokers may take to create, change or delete topics."""

WRITE_MS = 120_000
"""How long a record may wait for its brokers."""

_FILLING = {"message.timestamp.type": "CreateTime", "retention.ms": "-1", "retention.bytes": "-1"}
_NO_GROUP = frozenset({KafkaError.GROUP_ID_NOT_FOUND})
_EMPTY = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD, ConsumerGroupState.UNKNOWN})


def workers(log: KafkaLog, groups: Iterable[str]) -> list[str]:
    """Those of the groups that have members now; one that was killed counts until its session ends. Raises Transient, Fatal."""
    found: list[str] = []
    left = set(groups)
    deadline = time.monotonic() + ORDER_SECONDS
    while left:
        asked = log._topics.admin.describe_consumer_groups(sorted(left), request_timeout=ORDER_SECONDS)
        for group, answer in asked.items():
            with log._clients.border(f"asking who works for group {group}"):
                try:
                    described = answer.result()
                except KafkaException as exception:
                    code = exception.args[0].code()
                    if code in STARTING and time.monotonic() < deadline:
                        continue  # its coordinator is asked again
                    if code not in _NO_GROUP:
                        raise
                else:
                    found += [group] if described.members or described.state not in _EMPTY else []
            left.discard(group)
        if left:
            time.sleep(0.1)
    return sorted(found)


def wait_for_transactions(log: KafkaLog, topics: Sequence[str]) -> None:
    """Returns when no transaction is open on these topics: one whose owner was killed is ended by the broker. Raises Transient."""
    ats = [At(topic, partition) for topic in topics for partition in range(log._topics.partitions(topic))]
    deadline = time.monotonic() + 2 * (TRANSACTION_MS + SWEEP_MS) / 1000
    while ats:
        tops = log._topics._offsets(ats, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]
        bounds = log._topics.bounds(ats)
        open_ = sorted({at[0] for at in tops if bounds[at].end < tops[at]})
        if not open_:
            return
        if time.monotonic() > deadline:
            raise Transient(f"a transaction is open on {', '.join(open_)}: somebody writes there; stop it, and try again")
        time.sleep(0.2)


class KafkaTarget(Target):
    """See `Target`. log: the cluster, opened; closed by who opened it. prefix: of the new log's topics."""

    def __init__(self, log: KafkaLog, prefix: str) -> None:
        self._log = log
        self._clients = log._clients
        self._topics = log._topics
        self._mark = f"{prefix}.{MARK}"
        self._transactional_id = f"{log._worker}-copying"
        self._specs: Sequence[TopicSpec] = ()
        self._producer: Producer | None = None

    def prepare(self, topics: Sequence[TopicSpec], worn: Collection[TopicPartition], is_ours: Callable[[str], bool]) -> None:
        """See `Target`. An unfinished copy is known by its mark; its topics are deleted."""
        self.id = self._log.id
        there = self._topics.all()
        ours = [name for name in there if is_ours(name)]
        if self._mark not in there:
            self._refuse_unless_empty(ours)
            self._topics.create([TopicSpec(self._mark, 1)])
        self._delete(ours)
        self._specs = topics
        self._topics.create([replace(spec, retention=None, config={**spec.config, **_FILLING}) for spec in topics])
        self._topics._known.clear()
        self._producer = self._clients.producer(time_ms=WRITE_MS)
        if worn:
            self._wear(sorted(worn))

    def _refuse_unless_empty(self, ours: Sequence[str]) -> None:
        bounds = self._topics.bounds([At(name, partition) for name in ours for partition in range(self._topics.partitions(name))])
        if full := sorted({name for (name, _), extent in bounds.items() if extent.end}):
            raise Occupied(
                f"{full[0]} at {self._clients.bootstrap} has records already: take another [log] prefix, or delete the topics of that log"
            )

    def _delete(self, names: Sequence[str]) -> None:
        if not names:
            return
        asked = self._topics.admin.delete_topics(list(names), operation_timeout=ORDER_SECONDS, request_timeout=ORDER_SECONDS)
        for name, answer in asked.items():
            with self._clients.border(f"deleting topic {name}"):
                answer.result()
        deadline = time.monotonic() + ORDER_SECONDS
        while left := set(names) & self._topics.all().keys():
            if time.monotonic() > deadline:
                raise Transient(f"{', '.join(sorted(left))}: the brokers have not deleted them yet")
            time.sleep(0.05)

    def _wear(self, worn: Sequence[TopicPartition]) -> None:
        # Of the oldest time that there is: the broker finds records by the first that is as late as asked for.
        self.write([(Draft(at.topic, None, b"", partition=at.partition), 1) for at in worn])
        asked = self._topics.admin.delete_records([At(at.topic, at.partition, 1) for at in worn], request_timeout=ORDER_SECONDS)
        for at, answer in asked.items():
            with self._clients.border(f"moving the beginning of {at.topic}[{at.partition}]"):
                answer.result()

    def write(self, drafts: Sequence[tuple[Draft, int]]) -> list[int]:
        """See `Target`. `unique` is not looked at."""
        assert self._producer
        return self._produced(self._producer, drafts)

    def _produced(self, producer: Producer, drafts: Sequence[tuple[Draft, int]]) -> list[int]:
        offsets = [-1] * len(drafts)
        errors: list[tuple[KafkaError, str]] = []

        def report(place: int, error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is not None:
                errors.append((error, str(message.topic())))
            elif offset is not None:
                offsets[place] = offset

        with self._clients.border("writing the copy"):
            for place, (draft, time_ms) in enumerate(drafts):
                produce(producer, draft, partial(report, place), time_ms)
            left = producer.flush(WRITE_MS / 1000)
        if errors:
            error, topic = errors[0]
            raise self._clients.error(KafkaException(error), f"writing the copy to topic {topic}")
        if left or -1 in offsets:
            raise Transient(f"writing the copy: no answer from {self._clients.bootstrap} ([log] url)")
        return offsets

    def hole(self, at: TopicPartition) -> int:
        """See `Target`: a record of a transaction that is aborted takes an offset, and is never read."""
        with self._clients.border(f"leaving an offset of {at.topic} empty"):
            producer = self._clients.producer(self._transactional_id)
            producer.init_transactions(ORDER_SECONDS)
            producer.begin_transaction()
            (offset,) = self._produced(producer, [(Draft(at.topic, None, b"", partition=at.partition), 0)])
            producer.abort_transaction(ORDER_SECONDS)
            return offset
        raise AssertionError  # The border lets nothing through.

    def seal(self) -> None:
        """See `Target`."""
        self._producer = None

    def stand(self, group: str, topics: Sequence[str], positions: Mapping[TopicPartition, int]) -> None:
        """See `Target`."""
        ats = []
        for topic in topics:
            for partition, extent in enumerate(self._topics.extents(topic)):
                ats.append(At(topic, partition, positions.get(TopicPartition(topic, partition), extent.end)))
        outsider = self._clients.outsider(group, "read_committed")
        try:
            with self._clients.border(f"writing the positions of group {group}"):
                answered(lambda _left: outsider.commit(offsets=ats, asynchronous=False), ORDER_SECONDS)
        finally:
            outsider.close()

    @property
    def log(self) -> Log:
        """See `Target`."""
        return self._log

    def finish(self) -> None:
        """See `Target`."""
        asked = self._topics.admin.incremental_alter_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, spec.name, incremental_configs=_final(spec)) for spec in self._specs],
            request_timeout=ORDER_SECONDS,
        )
        for resource, answer in asked.items():
            with self._clients.border(f"changing the settings of topic {resource.name}"):
                answer.result()
        self._delete([self._mark])

    def close(self) -> None:
        """See `Target`."""
        if self._producer is not None:
            with suppress(KafkaException):
                self._producer.purge()
            self._producer = None


def _final(spec: TopicSpec) -> list[ConfigEntry]:
    """What a topic is to be set to, in place of `_FILLING`."""
    wanted: dict[str, str | None] = {"message.timestamp.type": "LogAppendTime", "retention.bytes": spec.config.get("retention.bytes")}
    wanted["retention.ms"] = spec.config.get("retention.ms") if spec.retention is None else str(int(spec.retention * 1000))
    return [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET)
        for name, value in wanted.items()
    ]
