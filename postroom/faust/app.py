"""The border to Faust, mode and aiokafka: one app, made and run within the caller's event loop, without a Worker of Faust's and so
without its signal handling, its web server or its logging.

What Faust is overruled in, and why:
- the consumer's isolation level, which Faust sets for its `exactly_once` only: it would hand out records that were aborted;
- what counts as done, and the commits (see `postroom.faust.progress`), which also carry the notes of tries;
- records of a retry topic that are not due yet: they are put back where they are fetched, and fetched again when they are;
- declaring topics, and the assignor's own: `postroom` makes the topics.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import faust
from aiokafka.errors import (  # type: ignore[import-untyped]
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition as At
from faust.transport.drivers import aiokafka as driver
from yarl import URL

from postroom.faust.connection import Connection
from postroom.faust.lines import listen
from postroom.faust.progress import Progress
from streams.errors import Fatal, LogError, PositionExpired, Transient
from streams.kafka.errors import NEEDS_A_RIGHT
from streams.kafka.messages import DIGEST
from streams.record import CARRIED, Record, TopicPartition

BUFFERED = 100
"""Records that wait in Faust's queue for the agent, beyond its concurrency."""


class Hand(Protocol):
    """What an app works for."""

    async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """These partitions are ours; called before their first record is fetched, with all that are ours after each rebalance."""

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """These are about to be given up; a commit still succeeds."""

    async def deliver(self, record: Record) -> None:
        """Works on a record; called by each of the agent's instances for one record at a time. Must not raise."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an app is made of. group: the consumer group, hence the app's id. delays: the topics, each with the seconds after which a
    record in it is due."""

    connection: Connection
    group: str
    delays: Mapping[str, float]
    concurrency: int


class FaustApp:
    """One life of an app, from `start` to `stop`; to be used within one event loop."""

    def __init__(self, terms: Terms, progress: Progress, hand: Hand) -> None:
        self.terms = terms
        self.progress = progress
        self.hand = hand
        listen(terms.connection.secrets)
        self._folder = tempfile.TemporaryDirectory(prefix="postroom-faust-")
        self._app = self._made()
        self._refusal: BaseException | None = None

    async def start(self) -> None:
        """Joins the group. Raises Transient, Fatal."""
        with _border(self.terms):
            await self._app.start()

    async def stop(self) -> None:
        """Leaves the group. What is still in hand is cancelled."""
        try:
            await self._app.stop()
        finally:
            self._folder.cleanup()

    @property
    def crashed(self) -> LogError | None:
        """What the app died of, if it did."""
        if self._app.crashed:
            return _translated(self._app.crash_reason or RuntimeError("for no reason that Faust knows"), self.terms)
        self._refusal = self._refusal or self._refused()
        return _translated(self._refusal, self.terms) if self._refusal else None

    def _refused(self) -> BaseException | None:
        """What the group's coordinator holds against us. aiokafka keeps it for who polls, and Faust does not before it has partitions."""
        part: Any = self._app.consumer
        for name in ("_thread", "_consumer", "_coordinator", "_pending_exception"):  # each made by its owner's start
            part = part and getattr(part, name)
        return part  # type: ignore[no-any-return]  # none of these is typed

    async def commit(self, positions: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        """Moves the group, with a note beside each position. False when the partitions are ours no more. Raises Transient, Fatal."""
        # confluent-kafka ends metadata with a NUL on the wire, and reads beyond the end of what has none.
        offsets = {At(*at): OffsetAndMetadata(offset, note and note + "\0") for at, (offset, note) in positions.items()}
        consumer: Any = self._app.consumer
        thread = consumer._thread
        try:
            with _border(self.terms):
                await thread.call_thread(thread._ensure_consumer().commit, offsets)
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    def _made(self) -> faust.App:
        connection, loop = self.terms.connection, asyncio.get_running_loop()
        app = faust.App(
            self.terms.group,
            broker=list(connection.urls),
            broker_credentials=connection.credentials,
            broker_session_timeout=connection.session_timeout,
            broker_heartbeat_interval=connection.heartbeat_interval,
            broker_max_poll_interval=86_400.0,  # a handler that waits for its database reads nothing, and is alive
            broker_commit_interval=86_400.0,  # Faust has nothing to commit; see `commit`
            consumer_auto_offset_reset="none",
            stream_buffer_maxsize=self.terms.concurrency + BUFFERED,
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            autodiscover=False,
            datadir=self._folder.name,
            loop=loop,
        )
        app.transport = _Transport([URL(url) for url in connection.urls], app, loop=loop)
        app.transport.owner = self
        strategy: Any = app.boot_strategy
        strategy.enable_kafka_producer = strategy.enable_web = strategy.enable_sensors = False
        # Without acks Faust keeps no account of gaps, which would grow with every transaction.
        topic = app.topic(*self.terms.delays, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False)
        app.agent(topic, name="handler", concurrency=self.terms.concurrency)(self._act)
        return app

    async def _act(self, stream: Any) -> None:
        events: AsyncIterator[Any] = stream.noack().events()
        async for event in events:
            await self.hand.deliver(_record(event.message))


class _Thread(driver.AIOKafkaConsumerThread):
    """Faust's fetching thread."""

    shutdown_timeout = 5.0
    """Seconds for its end, in place of 60."""

    async def on_thread_stop(self) -> None:
        """See mode.threads.ServiceThread."""
        with contextlib.suppress(asyncio.CancelledError):  # of a fetch that aiokafka cancels while the broker is away (0.14)
            await super().on_thread_stop()

    def __post_init__(self) -> None:
        super().__post_init__()
        owner: FaustApp = self.transport.owner  # type: ignore[attr-defined]
        self._progress = owner.progress
        self._delays = owner.terms.delays
        self._parked: dict[At, float] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(self, consumer: Any, active_partitions: Any, timeout: Any = None, max_records: Any = None) -> Any:
        """Faust's own, but for records that are not due, and with what was fetched told to `Progress` before anybody sees it."""
        now = time.time()
        self._parked = {at: due for at, due in self._parked.items() if due > now}
        wanted = {at for at in active_partitions if at not in self._parked}
        if not wanted:
            await asyncio.sleep(min(timeout or 0.0, 0.2))
            return {}
        if self._parked:
            timeout = max(0.01, min(timeout or 0.0, min(self._parked.values()) - now))
        found = await super()._fetch_records(consumer, wanted, timeout, max_records)
        found = {at: due for at, records in found.items() if (due := self._due(consumer, at, records))}
        self._tell(consumer, found)
        return found

    def _due(self, consumer: Any, at: At, records: Sequence[Any]) -> list[Any]:
        """The first records, that are due; the fetch goes on with the others once the first of them is."""
        delay, now = self._delays[at.topic], time.time()
        for place, record in enumerate(records if delay else ()):
            if (due := record.timestamp / 1000 + delay) > now:
                self._parked[at] = due
                consumer.seek(at, record.offset)
                records = records[:place]
                break
        return [record for record in records if (CARRIED, b"1") not in record.headers]

    def _tell(self, consumer: Any, found: Mapping[At, Sequence[Any]]) -> None:
        assignment = consumer._subscription.subscription.assignment
        for at in assignment.tps:
            state = assignment.state_value(at)
            if state.has_valid_position:
                offsets = [record.offset for record in found.get(at, ())]
                self._progress.fetched(TopicPartition(*at), offsets, state.position)


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        await self._owner.hand.assigned(frozenset(TopicPartition(*at) for at in assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self._owner.hand.revoked(frozenset(TopicPartition(*at) for at in revoked))
        await super().on_partitions_revoked(revoked)

    @property
    def _owner(self) -> FaustApp:
        owner: FaustApp = self.transport.owner  # type: ignore[attr-defined]
        return owner


class _Transport(driver.Transport):
    Consumer = _Consumer
    owner: FaustApp


def _record(message: Any) -> Record:
    headers = tuple((name, value or b"") for name, value in message.headers or () if name != DIGEST)
    digest = next((value for name, value in message.headers or () if name == DIGEST), None)
    time_ms = round(message.timestamp * 1000)
    return Record(message.topic, message.partition, message.offset, time_ms, message.key, message.value or b"", headers, digest=digest)


@contextlib.contextmanager
def _border(terms: Terms) -> Any:
    """Within it an error of the client's comes out as ours, but for the two that say that a partition is not ours."""
    try:
        yield
    except (CommitFailedError, IllegalStateError):
        raise
    except (KafkaError, OSError) as error:
        raise _translated(error, terms) from error


def _translated(error: BaseException, terms: Terms) -> LogError:
    doing = f"group {terms.group} on Faust: {type(error).__name__}: {error}"
    if isinstance(error, OffsetOutOfRangeError):
        return PositionExpired(
            f"{doing}. The group stands where the topic has nothing: its retention took it, or the topic was made anew. Set the group's "
            f"position to where it shall go on (kafka-consumer-groups --reset-offsets), and the topic's retention longer"
        )
    if isinstance(error, KafkaConnectionError | OSError) or (isinstance(error, KafkaError) and error.retriable):
        return Transient(f"{doing} ([log] url)")
    if isinstance(error, GroupAuthorizationFailedError | TopicAuthorizationFailedError):
        doing += NEEDS_A_RIGHT
    return Fatal(doing)
