"""One transactional producer, and one transaction at a time: begin, produce, move the group, commit; and what to do when that fails.

As the client's documentation asks (librdkafka, INTRODUCTION.md, "Transactional producer"): a retriable error is tried again, one that
requires an abort is aborted, a fatal one ends the producer. A new producer with the same id takes its place, and its
init_transactions finishes or aborts whatever the old one left behind.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as At

from streams.errors import Fatal, Fenced, LogError, TooLarge, Transient
from streams.kafka.clients import Clients, Hung, move_group, resume
from streams.kafka.errors import AWAY
from streams.kafka.membership import Membership
from streams.kafka.messages import produce
from streams.kafka.settings import CALL_SECONDS
from streams.kafka.topics import Topics
from streams.record import Draft

_RIVALS = 5
"""So many times in a row fenced by another producer of our id: somebody else works under it."""
_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_STALE = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS})
"""A rebalance went on while we committed. Whether our partitions are still ours, the group's newest generation tells."""

Written = tuple[int, int]
"""Where a draft was written: partition and offset."""


_PLACE = attrgetter("topic", "partition")


class Unsure(Transient):
    """The brokers went away while they were asked to commit: it may have been stored."""


@dataclass(slots=True, eq=False)
class Step:
    """What is to be stored whole or not at all. moves: the group's new positions with their notes. member: as whom the work was taken
    over; steps of one transaction have it in common. refused: what it fails with in its turn, where that is known from the start.
    written: where each draft was written, once done; kept only where `reports` is set."""

    drafts: Sequence[Draft]
    done: "Future[None]"
    moves: Sequence[At] = ()
    member: str | None = None
    refused: LogError | None = None
    reports: bool = False
    written: list[Written] = field(default_factory=list)


class Transactor:
    """Runs transactions under one id. Used from one thread at a time.

    membership: of the consumer whose group the steps move; None for appends, which move none, are told where they were written, and
    never are Fenced.
    """

    def __init__(self, clients: Clients, topics: Topics, transactional_id: str, membership: Membership | None = None) -> None:
        self._clients = clients
        self._topics = topics
        self._id = transactional_id
        self._membership = membership
        self._producer: Producer | None = None
        self._undelivered: list[tuple[KafkaError, str, int]] = []
        self._shaken = False
        self._committing = False
        self._used: Any = None
        self._fenced_in_a_row = 0
        self._stopped: Callable[[], bool] = bool

    def ready(self, deadline: float) -> Producer:
        """The producer, with any transaction that an earlier one of this id left behind finished or aborted."""
        self.idle()
        if self._shaken:
            self.drop()
        if self._producer is None:
            appends = self._membership is None
            producer = self._clients.producer(self._id, every_report=appends, on_delivery=self._report, error_cb=self._heard)
            with self._clients.border(f"taking over transactional id {self._id}"):
                resume(deadline, bool, producer.init_transactions)
            self._producer = producer
            self._shaken = False
        return self._producer

    def _heard(self, error: KafkaError) -> None:
        """What the client says of itself. One that lost a connection may keep a coordinator in mind that is no more (librdkafka issue
        5511); a new one asks."""
        self._shaken = self._shaken or error.code() in AWAY

    def idle(self) -> None:
        """Lets the client say what it has to say. To be called now and then while nothing is to be done."""
        try:
            if self._producer is not None:
                self._producer.poll(0)
        except KafkaException:
            self.drop()  # A fatal error. Whether it matters, the next transaction shows.

    def drop(self) -> None:
        """Gives the producer up. What it left open, the next one of this id aborts; or the broker, after its time-out."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def run(self, steps: Sequence[Step], deadline: float, stopped: Callable[[], bool]) -> None:
        """Stores the steps in one transaction, trying again until the deadline (monotonic seconds) what may be tried again, unless
        `stopped` says not to.

        Raises Fenced, TooLarge, Fatal and Transient, with nothing stored; Unsure where nobody can know.
        """
        self._check(steps)
        alone = False
        self._stopped = stopped
        while True:
            try:
                self._once(steps, deadline, alone=alone)
            except KafkaException as exception:
                error = self._failed(exception)
                again = self._may_try_again(exception.args[0], error, steps, alone=alone)
                alone = alone or isinstance(error, TooLarge)
                if not again or stopped() or time.monotonic() > deadline:
                    raise error from exception
            except LogError:
                self._abandon()
                raise
            else:
                self._fenced_in_a_row = 0
                return

    def _once(self, steps: Sequence[Step], deadline: float, *, alone: bool) -> None:
        """One transaction. alone: every record in a batch of its own, because topics limit the batch, and only a batch of one
        tells whether the record itself is too large."""
        producer = self.ready(deadline)
        self._undelivered.clear()
        self._committing = False
        producer.begin_transaction()
        for step in steps:
            self._produce(producer, step, alone=alone)
        moves = {(at.topic, at.partition): at for step in steps for at in step.moves}
        if moves and self._membership is not None:
            self._used = self._membership.metadata(steps[-1].member)
            move_group(deadline, self._stopped, producer, list(moves.values()), self._used)
        self._committing = True
        resume(deadline, self._stopped, producer.commit_transaction)

    def _check(self, steps: Sequence[Step]) -> None:
        """That topics and partitions exist. The client would wait long for them, and the broker may make a topic that is asked for."""
        for topic, partition in set().union(*(map(_PLACE, step.drafts) for step in steps)):
            count = self._topics.partitions(topic)
            if partition is not None and not 0 <= partition < count:
                raise Fatal(f"topic {topic} has {count} partitions, and no number {partition}")

    def _produce(self, producer: Producer, step: Step, *, alone: bool) -> None:
        step.written[:] = [(-1, -1)] * len(step.drafts) if step.reports else []
        for index, draft in enumerate(step.drafts):
            try:
                produce(producer, draft, self._reporter(step, index) if step.reports else None)
            except KafkaException as exception:
                self._undelivered.append((exception.args[0], draft.topic, len(draft.value)))
                raise
            if alone:
                producer.flush(CALL_SECONDS)

    def _reporter(self, step: Step, index: int) -> Callable[[KafkaError | None, Message], None]:
        """Takes down where a draft was written."""

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._report(error, message)
            else:
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                step.written[index] = (partition, offset)

        return report

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() not in _PURGED:
            self._undelivered.append((error, message.topic() or "", len(message)))

    def _failed(self, exception: KafkaException) -> LogError:
        """Ends the transaction that failed, and says what it was: a record that was not delivered, before what the commit made of it.

        Who is fenced while committing may have been so by a successor, after the commit. Where a group is moved, that is Fenced all
        the same, because the group then tells where it stands.
        """
        error: KafkaError = exception.args[0]
        if isinstance(exception, Hung) or error.fatal() or (self._committing and not error.txn_requires_abort()):
            self.drop()
        else:
            self._abandon()
        fenced = error.code() == KafkaError._FENCED
        if self._committing and not error.txn_requires_abort() and (self._membership is None or not fenced):
            return Unsure(str(self._clients.error(exception, f"committing as {self._id}")))
        if self._undelivered:
            cause, topic, size = self._undelivered[0]
            return self._clients.error(KafkaException(cause), f"writing {size} bytes to topic {topic}")
        return self._clients.error(exception, f"committing as {self._id}")

    def _abandon(self) -> None:
        """Aborts, so that readers need not wait for a time-out; a producer that cannot is given up."""
        try:
            if self._producer is not None:
                resume(time.monotonic() + CALL_SECONDS, bool, self._producer.abort_transaction)
        except KafkaException:
            self.drop()

    def _may_try_again(self, error: KafkaError, ours: LogError, steps: Sequence[Step], *, alone: bool) -> bool:
        if isinstance(ours, Unsure):
            return False
        if isinstance(ours, Fenced):
            if error.code() in _STALE and self._membership is not None:
                return self._membership.renewed(steps[-1].member, self._used, CALL_SECONDS, self._stopped)
            self._count_rivals(error)
            return self._membership is None
        if isinstance(ours, TooLarge):
            return not alone and sum(len(step.drafts) for step in steps) > 1
        if isinstance(ours, Transient):
            time.sleep(0.05)
            return True
        return False

    def _count_rivals(self, error: KafkaError) -> None:
        """Raises Fatal when another process works under our id all the time."""
        if error.code() == KafkaError._FENCED:
            self._fenced_in_a_row += 1
            if self._fenced_in_a_row >= _RIVALS:
                raise Fatal(f"another process works as {self._id}: give each worker a slot of its own (run --slot, POSTROOM_SLOT)")
