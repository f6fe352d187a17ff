"""A member of a consumer group on Kafka: what it reads, what is its, and its commits.

The group shares out the partitions of the first topic. Partition i of the further topics goes with that of the first: its owner
reads it by hand, and commits it as the same member of the same group.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as At

from streams.errors import Fatal, Fenced, LogError, PositionExpired, Transient
from streams.kafka.callbacks import Callbacks
from streams.kafka.clients import Clients
from streams.kafka.groups import committed
from streams.kafka.inbox import Inbox
from streams.kafka.membership import Membership
from streams.kafka.messages import take
from streams.kafka.pipeline import Pipeline
from streams.kafka.settings import CALL_SECONDS
from streams.kafka.topics import Topics
from streams.kafka.transactions import Step, Transactor
from streams.log import Batch, Consumer, Rebalanced, Standing
from streams.record import Draft, TopicPartition

COMMIT_SECONDS = 30.0
"""How long a commit is tried while the brokers are away. A broker that restarts is back within it."""

RENEW_SECONDS = 3600.0
"""How often positions are written that would otherwise go unwritten for long, and be forgotten."""

_SLICE = 0.1
"""Seconds of one wait for a message. Between two, what a rebalance brought is taken over."""

_HARMLESS = frozenset({KafkaError._MAX_POLL_EXCEEDED, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT})
"""Errors among the messages that the client mends by itself, or that end in a lost assignment, which it tells apart."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a consumer works with. transactional_id: its producer's. interval: seconds, see `Pipeline`. closed: called once it is."""

    clients: Clients
    topics: Topics
    transactional_id: str
    interval: float
    closed: Callable[[], None]


class KafkaConsumer(Consumer):
    """See `streams.log.Consumer`."""

    def __init__(self, terms: Terms, group: str, topics: Sequence[str], on_assigned: Rebalanced, on_revoked: Rebalanced) -> None:
        self._clients = terms.clients
        self._group = group
        self._topics = list(topics)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._closed = terms.closed
        self._open = True
        self._woken = False
        self._ours: dict[int, dict[TopicPartition, Standing]] = {}  # where the group stood when we got each, by partition number
        self._coming: set[int] = set()  # the group gave us these; we do not read them yet
        self._committed: dict[TopicPartition, Standing] = {}  # as of the last commit that was given
        self._renew_at = 0.0
        self._inbox = Inbox()
        self._callbacks = Callbacks()
        self._broken: dict[TopicPartition, LogError] = {}
        self._member: str | None = None
        self._away = False
        self._client = terms.clients.consumer(group, error_cb=self._heard)
        self._membership = Membership(self._client, group)
        transactor = Transactor(terms.clients, terms.topics, terms.transactional_id, self._membership)
        self._transactor = transactor
        self._pipeline = Pipeline(transactor, interval=terms.interval, patience=COMMIT_SECONDS, together=True)
        wrap = self._callbacks.wrap
        self._client.subscribe([self._topics[0]], on_assign=wrap(self._given), on_revoke=wrap(self._taken), on_lost=wrap(self._lost))

    # Reading

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Consumer.poll`."""
        deadline = time.monotonic() + timeout
        while True:
            self._take_over()
            self._renew_by_hand()
            left = deadline - time.monotonic()
            self._receive(limit, max(0.0, min(left, _SLICE)) if self._inbox.empty else 0.0)
            self._stop_where_it_is_broken()
            batch = self._inbox.take(limit)
            if batch.records or batch.positions:
                return batch
            self._complain()
            if left <= 0 or self._woken:
                self._woken = False
                self._take_over()
                return batch

    def wake(self) -> None:
        """See `Consumer.wake`. Seen between two slices of the wait."""
        self._woken = True

    def _receive(self, limit: int, timeout: float) -> None:
        """Takes in what the client has, and has it call us for what it needs to."""
        with self._clients.border(f"reading {self._topics[0]} for group {self._group}"):
            with self._membership.inside:
                messages = take(self._client, self._inbox.room(limit), timeout)
            # First what was taken, because the client does not hand it out again, whatever is raised.
            for at, error in self._inbox.put(messages):
                self._note_error(at, error)
            self._membership.renew_if_wanted()
            self._callbacks.check()

    def _note_error(self, at: TopicPartition, error: KafkaError) -> None:
        """Remembers what is to be raised once the records that came before it are handed out."""
        if error.code() in _HARMLESS:
            return
        what = f"{at.topic}[{at.partition}]" if at.topic else ", ".join(self._topics)  # none where the group itself is at fault
        ours = self._clients.error(KafkaException(error), f"reading {what} for group {self._group}")
        if isinstance(ours, PositionExpired):
            ours = PositionExpired(
                f"group {self._group} stands at {self._inbox.next(at)} in {at.topic}[{at.partition}], where the topic has nothing: its "
                f"retention took it, or the topic was made anew. Set the group's position to where it shall go on "
                f"(kafka-consumer-groups --reset-offsets), and the topic's retention longer"
            )
        if not isinstance(ours, Transient):
            self._broken[at] = ours

    def _stop_where_it_is_broken(self) -> None:
        """Raises what keeps us from reading a partition, once the records that came before it are handed out. However much there is of
        others: that may go on for hours, and be unread for as long."""
        for at, error in self._broken.items():
            if not self._inbox.holds(at):
                raise error

    def _complain(self) -> None:
        """Raises what keeps us from reading at all."""
        if self._away:
            with self._clients.border(f"reading {self._topics[0]} for group {self._group}"):
                self._client.list_topics(self._topics[0], timeout=1.0)
            self._away = False

    def _heard(self, error: KafkaError) -> None:
        """What the client says of itself, from within a poll."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._away = True

    def seek(self, at: TopicPartition, offset: int) -> None:
        """See `Consumer.seek`. Raises ValueError for a partition that is not ours."""
        if at not in self._inbox:
            raise ValueError(f"{at} is not assigned to this consumer")
        self._broken.pop(at, None)
        self._start({at: offset})

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        paused = [at for at in partitions if at in self._inbox]
        self._inbox.paused.update(paused)
        with self._clients.border(f"pausing partitions of group {self._group}"):
            self._client.pause([At(*at) for at in paused])

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        resumed = [at for at in partitions if at in self._inbox.paused]
        self._inbox.paused.difference_update(resumed)
        with self._clients.border(f"resuming partitions of group {self._group}"):
            self._client.resume([At(*at) for at in resumed])

    def notes(self, partition: int) -> dict[TopicPartition, Standing]:
        """See `Consumer.notes`."""
        return dict(self._ours.get(partition, {}))

    @property
    def fenced(self) -> bool:
        """See `Consumer.fenced`."""
        return self._pipeline.failed

    @property
    def assigned(self) -> frozenset[int]:
        """See `Consumer.assigned`."""
        return frozenset(self._ours)

    def _start(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Reads partitions from these offsets on. Assigned anew rather than sought: a seek fails before the first fetch is under way."""
        with self._clients.border(f"reading {self._topics[0]} for group {self._group}"):
            self._client.incremental_unassign([At(*at) for at in offsets if at in self._inbox])
            self._client.incremental_assign([At(*at, offset) for at, offset in offsets.items()])
            self._inbox.start(offsets)
            # The client remembers a pause beyond the assignment that it was made in.
            self._client.pause([At(*at) for at in offsets if at in self._inbox.paused])
            self._client.resume([At(*at) for at in offsets if at not in self._inbox.paused])

    # Partitions come and go. The client calls `_given`, `_taken` and `_lost` from within its poll and close.

    def _given(self, partitions: list[At]) -> None:
        """Takes note, and leaves the work to `_take_over`, which may fail and be tried again."""
        self._client.incremental_assign([])
        self._coming.update(at.partition for at in partitions)
        self._membership.renew()
        self._member = self._membership.member

    def _take_over(self) -> None:
        """Begins to read what the group gave us, from where it stands."""
        if self._coming:
            coming = frozenset(self._coming)
            standings = self._standings(coming)
            self._coming.clear()
            self._stand(standings)
            self._renew_at = 0.0
            self._on_assigned(coming)

    def _standings(self, partitions: Iterable[int]) -> dict[TopicPartition, Standing]:
        """Where the group stands in all our topics' partitions of these numbers. Waits for transactions that are about to move it."""
        ats = [At(topic, partition) for partition in partitions for topic in self._topics]
        with self._clients.border(f"reading the positions of group {self._group}"):
            found = committed(self._client, ats, CALL_SECONDS)
        for at in ats:
            if (at.topic, at.partition) not in found:
                raise Fatal(
                    f"group {self._group} has no position in {at.topic}[{at.partition}]: the topic got more partitions, or the broker has "
                    "forgotten the position (offsets.retention.minutes), or somebody deleted it. Start the role again, which sees to it"
                )
        return found

    def _stand(self, standings: Mapping[TopicPartition, Standing]) -> None:
        """Takes these standings for where we begin."""
        self._start({at: standing.offset for at, standing in standings.items()})
        for at, standing in standings.items():
            self._ours.setdefault(at.partition, {})[at] = standing
            self._committed[at] = standing

    def _renew_by_hand(self) -> None:
        """Writes anew where the group stands in the topics that are read by hand, soon after we got them and then once an hour. The group
        is not subscribed to these, and so the broker forgets of them what nobody wrote for offsets.retention.minutes, at work or not
        (KIP-211). A retry topic of a site without trouble is written that rarely."""
        if time.monotonic() < self._renew_at or not self._ours or self._pipeline.failed:
            return
        self._renew_at = time.monotonic() + RENEW_SECONDS
        if by_hand := {at: self._committed[at] for at in self._inbox.partitions(self._ours) if at.topic != self._topics[0]}:
            positions = {at: standing.offset for at, standing in by_hand.items()}
            self.commit([], positions, {at: standing.note for at, standing in by_hand.items()})

    def _taken(self, partitions: list[At]) -> None:
        """Has the caller finish, waits for what is under way, and gives the partitions up."""
        self._membership.renew()
        self._give_up(frozenset(at.partition for at in partitions))

    def _lost(self, partitions: list[At]) -> None:
        """Others have our partitions already: nothing of what is under way may be stored."""
        self._pipeline.fail(Fenced(f"group {self._group} gave our partitions to others, because it did not hear from us for its session"))
        self._membership.renew()
        self._member = None
        self._give_up(frozenset(at.partition for at in partitions))

    def _give_up(self, partitions: frozenset[int]) -> None:
        ours = partitions & frozenset(self._ours)
        try:
            if ours:
                self._on_revoked(ours)
        finally:
            if not self._pipeline.settle(COMMIT_SECONDS):
                self._pipeline.fail(Fenced(f"partitions {sorted(ours)} were given up before this could be stored"))
            gone = self._inbox.partitions(ours)
            self._inbox.drop(gone)
            self._coming -= partitions
            for number in ours:
                del self._ours[number]
            for at in gone:
                del self._committed[at]
                self._broken.pop(at, None)
            with self._clients.border(f"giving up partitions of group {self._group}"):
                self._client.incremental_unassign([At(*at) for at in gone])

    # Writing

    def commit(
        self, outputs: Sequence[Draft], positions: Mapping[TopicPartition, int], notes: Mapping[TopicPartition, str] | None = None
    ) -> "Future[None]":
        """See `Consumer.commit`."""
        beside = notes or {}
        if not beside.keys() <= positions.keys():
            raise ValueError("notes are written beside positions; use note() where the position stays")
        self._membership.renew()
        moves = [At(*at, offset, beside.get(at, "")) for at, offset in positions.items()]
        done = self._pipeline.future()
        self._pipeline.submit(Step(outputs, done, moves, self._member, refused=self._strange(positions)))
        self._committed.update({at: Standing(offset, beside.get(at, "")) for at, offset in positions.items()})
        return done

    def note(self, notes: Mapping[TopicPartition, str]) -> None:
        """See `Consumer.note`."""
        if error := self._strange(notes):
            raise error
        self.commit([], {at: self._committed[at].offset for at in notes}, notes).result()

    def _strange(self, ats: Iterable[TopicPartition]) -> Fenced | None:
        """What a commit fails with that moves partitions which are not ours."""
        for at in ats:
            if at not in self._inbox:
                return Fenced(f"{at.topic}[{at.partition}] is not ours in group {self._group}")
        return None

    def rewind(self) -> None:
        """See `Consumer.rewind`. Raises Transient, with nothing changed, while the brokers are away."""
        if not self._pipeline.settle(CALL_SECONDS):
            raise Transient(f"a commit of group {self._group} is still under way")
        self._transactor.ready(time.monotonic() + CALL_SECONDS)
        if self._ours:
            self._stand(self._standings(self._ours))
        self._broken.clear()
        self._pipeline.reset()

    def close(self) -> None:
        """See `Consumer.close`."""
        if not self._open:
            return
        self._open = False
        try:
            # Before the client leaves: while it does, it answers no more as whom the group knows us.
            self._membership.renew()
            self._give_up(self.assigned)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._membership.leave()
        try:
            with self._clients.border(f"leaving group {self._group}"):
                self._client.close()
                self._callbacks.check()
        finally:
            self._pipeline.close(CALL_SECONDS)
            self._closed()
