"""The event log on Apache Kafka."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from threading import Lock

from confluent_kafka import TopicPartition as At

from streams.errors import Fatal, TopicMissing
from streams.kafka.appends import Appends
from streams.kafka.clients import Clients
from streams.kafka.consumer import KafkaConsumer, Terms
from streams.kafka.fetching import Fetcher
from streams.kafka.groups import Groups
from streams.kafka.reading import read
from streams.kafka.settings import CALL_SECONDS
from streams.kafka.topics import Topics, TopicState
from streams.log import Consumer, Extent, Log, Rebalanced, Standing, TopicSpec, _nothing
from streams.record import Appended, Draft, Position, Record, TopicPartition

COMMIT_INTERVAL = 0.1


class KafkaLog(Log):
    """See `streams.log.Log`. Opening connects to nothing yet; the first call does, and raises Transient within some seconds, with the
    address, where no broker answers.

    bootstrap: host:port, several by commas. config: settings of librdkafka by its own names, passed through but for those that the
    contract rests on (`settings.FIXED`). transactional_prefix: begins our transactional ids, for rights by prefix. slot: which of the
    workers this is; two that run at a time must not share one, and one that starts again should come back under its own, so that
    it ends at once what it left open when it died (`streams.kafka.slots`). commit_interval: seconds from one transaction of a
    consumer to its next, unless somebody waits for it.

    Where Kafka differs: `unique` is not looked at, and `Appended.repeat` is None. A failed append may be stored, if a broker died
    between storing and answering. A commit that fails with Transient may be stored in the same way; `Consumer.rewind` finds out,
    because the group then stands behind it.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        config: Mapping[str, str] | None = None,
        transactional_prefix: str = "postroom",
        slot: str = "0",
        commit_interval: float = COMMIT_INTERVAL,
    ) -> None:
        self._worker = f"{transactional_prefix}-{slot}"
        self._clients = Clients(bootstrap, config or {}, self._worker)
        self._interval = commit_interval
        self._topics = Topics(self._clients)
        self._groups = Groups(self._clients, self._topics, transactional_prefix)
        self._appends = Appends(self._clients, self._topics, f"{self._worker}-append")
        self._fetcher: Fetcher | None = None
        self._lock = Lock()
        self._members: set[tuple[str, int]] = set()

    @cached_property
    def id(self) -> str:  # type: ignore[override]  # the contract has a plain attribute; here it is asked for on first use
        """The cluster's id."""
        with self._clients.border("asking for the cluster's id"):
            # With a name, which need not be there, because without one the answer lists every topic of the cluster.
            return str(self._topics.admin.list_topics("__consumer_offsets", timeout=CALL_SECONDS).cluster_id)
        raise AssertionError  # The border lets nothing through.

    # Reading

    def topics(self) -> dict[str, int]:
        """See `Reader.topics`."""
        return self._topics.all()

    def partitions(self, topic: str) -> int:
        """See `Reader.partitions`. A topic that we may not see counts as none, as it does in `topics`."""
        return self._topics.count(topic)

    def extents(self, topic: str) -> list[Extent]:
        """See `Reader.extents`."""
        return self._topics.extents(topic)

    def read(
        self,
        topic: str,
        partition: int | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
        since: int | None = None,
        until: int | None = None,
        values: bool = True,
    ) -> Iterator[Record]:
        """See `Reader.read`."""
        count = self._topics.partitions(topic)
        if partition is not None and not 0 <= partition < count:
            raise TopicMissing(f"topic {topic} has {count} partitions, and no number {partition}")
        which = range(count) if partition is None else range(partition, partition + 1)
        return read(self._clients, self._topics, topic, which, start=start, end=end, since=since, until=until, values=values)

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `Reader.fetch`."""
        if self._fetcher is None:
            self._fetcher = Fetcher(self._clients, self._topics, self.id)
        return self._fetcher.fetch(positions)

    def standings(self, group: str, topics: Iterable[str]) -> dict[TopicPartition, Standing]:
        """See `Reader.standings`."""
        ats = [At(topic, partition) for topic in topics for partition in range(self._topics.count(topic))]
        return self._groups.standings(group, ats)

    def describe(self, topics: Sequence[str]) -> dict[str, TopicState]:
        """What the broker has these topics set to; those that do not exist are left out. Raises Transient, Fatal."""
        return self._topics.describe(topics)

    # Writing

    def create(self, topics: Sequence[TopicSpec]) -> None:
        """See `Log.create`."""
        self._topics.create(topics)

    def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        """See `Log.append`, and `Appends.append` for its time limit."""
        log = self.id  # Before, because afterwards nothing may fail any more.
        written = self._appends.append(drafts)
        return [
            Appended(Position(log, draft.topic, partition, offset), None)
            for draft, (partition, offset) in zip(drafts, written, strict=True)
        ]

    def consumer(
        self, group: str, topics: Sequence[str], *, on_assigned: Rebalanced = _nothing, on_revoked: Rebalanced = _nothing
    ) -> Consumer:
        """See `Log.consumer`."""
        counts = {topic: self._topics.partitions(topic) for topic in topics}
        if len(set(counts.values())) != 1:
            raise Fatal(f"group {group} reads topics together whose numbers of partitions differ: {counts}")
        self._groups.ensure(group, topics)
        with self._lock:
            ordinal = next(number for number in range(len(self._members) + 1) if (group, number) not in self._members)
            self._members.add((group, ordinal))
        closed = partial(self._members.discard, (group, ordinal))
        terms = Terms(self._clients, self._topics, f"{self._worker}-{group}-{ordinal}", self._interval, closed)
        return KafkaConsumer(terms, group, topics, on_assigned, on_revoked)

    def ensure_group(self, group: str, topics: Sequence[str]) -> None:
        """See `Log.ensure_group`."""
        self._groups.ensure(group, topics)

    def close(self) -> None:
        """See `Log.close`. Consumers are closed by who opened them."""
        self._appends.close()
        self._groups.close()
        if self._fetcher is not None:
            self._fetcher.close()
