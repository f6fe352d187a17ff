"""Runs a stage: poll, decide, commit, and the fault policy in one place (DESIGN.md section 4, Faults).

The next batch is decided while the last one commits. A fault about one record ends as that record's failure; about a whole part,
the role holds; about the log itself, the runner starts afresh from where the group stands.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from streams.errors import Fatal, Fenced, LogError, TooLarge, Transient
from streams.faults import Hold
from streams.gate import Gate
from streams.judging import Judge
from streams.log import Batch, Consumer, Log
from streams.notes import Tries
from streams.record import Record, TopicPartition, places
from streams.retries import RetryPlan, Waiting
from streams.stage import Alive, Result, Stage, between

log = logging.getLogger("postroom.runner")

_COMMITS_UNDER_WAY = 4
"""Commits given and not yet durable; an engine may put them into one transaction."""
_LONG = 20.0
"""Seconds after which the rest of a slow batch is given back, so that the log is polled again; brokers allow minutes (KIP-62)."""
_SKIP_EVERY = 1.0
"""Seconds between commits that only pass carried records over, while there is more to read."""
_SLICE = 1.0
"""Seconds of building what is remembered between two polls."""
_SETBACKS = 4
"""How often the wait for a log that is away doubles."""


@dataclass(frozen=True, slots=True)
class Options:
    """batch: records at a time. clock: ms since 1970. backoff: seconds before the next try when the log is away, twice as many each time
    up to 16 times. idle: seconds that a poll waits when there is nothing; a stop is seen within that, and so is the end of what was only
    to be passed over. gate: shared by the runners of a process."""

    batch: int = 500
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    backoff: float = 0.5
    idle: float = 0.25
    gate: Gate = field(default_factory=Gate)


class _Interrupted(Exception):
    """What is remembered of a partition need not be built any further: it is no longer ours, or the runner is to stop."""


class Runner:
    """One stage, one consumer, one thread. group and topics: what it reads, the stage's own topic first. plan: retries, where the
    stage has them; their topics are read along."""

    def __init__(
        self, event_log: Log, group: str, topics: Sequence[str], stage: Stage, plan: RetryPlan | None = None, options: Options | None = None
    ) -> None:
        self.stage = stage
        self.group = group
        self.topics = [*topics, *(plan.topics if plan else ())]
        self.holding: Hold | None = None
        """What the role waits for, or None."""
        self.busy = False
        """Whether it is working on records right now (not while it holds)."""
        self.done = 0
        """Records processed so far."""
        self._log = event_log
        self._options = options or Options()
        self._waiting = Waiting(plan) if plan else None
        self._judge = Judge(stage, self._waiting, self._options.clock)
        self._tries = Tries()
        self._under_way: deque[Future[None]] = deque()
        self._consumer: Consumer | None = None
        self._stop = threading.Event()
        self._gained: frozenset[int] = frozenset()
        self._building: int | None = None
        self._in_hand = Batch([], {})
        self._stale = False
        self._setbacks = 0
        self._polled_to: dict[TopicPartition, int] = {}
        self._skipped: dict[TopicPartition, int] = {}
        self._skipped_at = 0.0

    # -- the loop -----------------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Asks the runner to stop: it finishes and commits what it has in hand. Returns at once; thread-safe."""
        self._stop.set()
        if (consumer := self._consumer) is not None:
            consumer.wake()

    def run(self) -> None:
        """Works until `stop`. Raises Fatal and Newer, upon which the role is over; waits out everything that passes."""
        consumer = self._join()
        if consumer is None:
            return
        self._consumer = consumer
        try:
            while not self._stop.is_set():
                self._turn(consumer)
            self._settle(0)
        except (Fenced, Transient):
            log.info("%s: stopped while the log was away; what was in hand will be processed again", self.stage.name)
        finally:
            self._leave(consumer)

    def _join(self) -> Consumer | None:
        while not self._stop.is_set():
            try:
                return self._log.consumer(self.group, self.topics, on_assigned=self._assigned, on_revoked=self._revoked)
            except Transient as error:
                self._is_away(error)
        return None

    def _leave(self, consumer: Consumer) -> None:
        try:
            consumer.close()
        except (Fenced, Transient) as error:
            log.warning("%s: left without a word, so others take over when its session has ended: %s", self.stage.name, error)

    def _is_away(self, error: Transient) -> None:
        """Waits a while before the next try: what is tried may be calls of handlers."""
        log.warning("%s: the log is away: %s", self.stage.name, error)
        self._stop.wait(self._options.backoff * (1 << self._setbacks))
        self._setbacks = min(self._setbacks + 1, _SETBACKS)

    def _turn(self, consumer: Consumer) -> None:
        try:
            if self._stale:
                self._go_back(consumer)
            batch = self._poll(consumer)
            self._check(consumer)
            if self._gained:
                batch = self._remember(consumer, batch)
                if self._stop.is_set():
                    return
            records = self._eligible(consumer, batch)
            if records:
                self.busy = True
                self._work(consumer, records)
                self._is_back()
            self._pass_over(consumer, batch, records)
            if not records:
                self._settle(0)
        except Hold as hold:
            self.busy = False
            self._hold(consumer, hold)
        except Fenced as error:
            log.info("%s: starts afresh: %s", self.stage.name, error)
            self._afresh(consumer)
        except Transient as error:
            self._is_away(error)
            self._afresh(consumer)
        finally:
            self.busy = False

    def _poll(self, consumer: Consumer) -> Batch:
        wait = 0.0 if self._under_way else self._options.idle
        if self._waiting and (due := self._waiting.next_due()) is not None:
            wait = min(wait, max(0.0, (due - self._options.clock()) / 1000))
        batch = consumer.poll(self._options.batch, wait)
        self._polled_to.update(batch.positions)
        return batch

    def _check(self, consumer: Consumer) -> None:
        """After a poll. Raises Fenced where what is in hand is worth nothing any more, or what a commit failed with."""
        if self._stale or consumer.fenced:
            self._settle(0)
            raise Fenced("partitions were lost")

    def _is_back(self) -> None:
        if self.holding:
            log.warning("%s: %s is back; going on", self.stage.name, self.holding.part)
            self.holding = None

    def _eligible(self, consumer: Consumer, batch: Batch) -> list[Record]:
        """What may run now: waiting records that are due first, then what is new; new waiting records are parked."""
        waiting = self._waiting
        if waiting is None:
            return batch.records
        fresh, parked = batch.records, list[Record]()
        if any(waiting.is_retry(at) for at in batch.positions):
            fresh = [record for record in batch.records if not waiting.is_retry(record.at)]
            parked = [record for record in batch.records if waiting.is_retry(record.at)]
            consumer.pause(waiting.park(parked, self._options.clock()))
        due, free = waiting.due(self._options.clock(), self._options.batch)
        if free:
            consumer.resume(free)
        return due + fresh

    def _pass_over(self, consumer: Consumer, batch: Batch, worked: Sequence[Record]) -> None:
        """Moves past carried records of which nothing had to be worked on: at once when idle, else now and then, because each
        commit of its own costs the log a write."""
        busy = places(worked)
        self._skipped.update((at, offset) for at, offset in batch.positions.items() if at not in busy and self._parked_at(at) is None)
        for at in busy:
            self._skipped.pop(at, None)
        if self._skipped and (not batch.positions or time.monotonic() - self._skipped_at > _SKIP_EVERY):
            self._under_way.append(consumer.commit([], self._skipped, self._tries.notes(self._skipped)))
            self._skipped, self._skipped_at = {}, time.monotonic()

    def _parked_at(self, at: TopicPartition) -> int | None:
        return self._waiting.parked_at(at) if self._waiting else None

    # -- one batch ------------------------------------------------------------------------------------------------------------------

    def _work(self, consumer: Consumer, records: Sequence[Record]) -> None:
        """Runs and commits the records, all at once but where an earlier worker died on them (see `streams.notes`)."""
        rest = records
        until = time.monotonic() + _LONG
        while rest and not self._stop.is_set():
            if time.monotonic() > until:
                self._give_back(consumer, rest)
                return
            portion, behind = self._tries.portion(rest)
            self._settle(0 if self._tries.wary else _COMMITS_UNDER_WAY - 1)
            results = self._results(consumer, portion)
            worked = portion[: len(results)]
            rest = [*portion[len(results) :], *behind] if len(worked) < len(portion) else behind
            outputs = self._judge.outputs(worked, results)
            positions = self._behind(worked, rest)
            self._under_way.append(consumer.commit(outputs, positions, self._tries.done(positions)))
            self.done += len(worked)

    def _give_back(self, consumer: Consumer, rest: Sequence[Record]) -> None:
        """Records that there was no time for come again with the next polls, which also keep the membership."""
        first = {record.at: record.offset for record in reversed(rest)}
        if self._waiting:
            again = [record for record in rest if self._waiting.is_retry(record.at)]
            consumer.pause(self._waiting.unpark(again))
        for at, offset in first.items():
            if not (self._waiting and self._waiting.is_retry(at)):
                consumer.seek(at, offset)

    def _results(self, consumer: Consumer, portion: Sequence[Record]) -> Sequence[Result]:
        """The stage's word on each record of a portion, which is noted before it runs."""
        if self._tries.condemned(portion):
            (record,) = portion
            log.error("%s: %s %d@%d killed its worker and is set aside", self.stage.name, record.topic, record.partition, record.offset)
            return [self._judge.crashed(record)]
        gate = self._options.gate
        with gate.alone() if self._tries.is_alone(portion) else gate.together():
            if beginning := self._tries.beginning(portion):
                consumer.note(beginning)
            return self._judge.results(portion)

    def _behind(self, records: Sequence[Record], rest: Sequence[Record]) -> dict[TopicPartition, int]:
        """The positions to commit once these records are done: up to the first one of the partition that is still to be done or
        still parked, else up to where it was polled, which covers carried records in between."""
        first = {record.at: record.offset for record in reversed(rest)}
        positions: dict[TopicPartition, int] = {}
        for at in places(records):
            left = first.get(at, self._parked_at(at))
            positions[at] = self._polled_to[at] if left is None else left
        return positions

    # -- commits -----------------------------------------------------------------------------------------------------------------------

    def _settle(self, leave: int) -> None:
        """Waits until at most `leave` commits are under way. Raises what a commit failed with."""
        while len(self._under_way) > leave:
            try:
                self._under_way.popleft().result()
                self._setbacks = 0
            except TooLarge as error:
                raise Fatal(f"{self.stage.name}: a record is larger than its topic takes: {error}") from error

    def _afresh(self, consumer: Consumer) -> None:
        """Drops what is in hand. The next turn goes back to where the group stands."""
        self._under_way.clear()
        self._tries.afresh(consumer.assigned)
        self._forget(consumer.assigned)
        self._stale = True

    def _go_back(self, consumer: Consumer) -> None:
        """Back to where the group stands, with what is remembered built anew."""
        consumer.rewind()
        consumer.resume(self._partitions(consumer))
        self._gained = consumer.assigned
        self._stale = False

    def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in self.topics for number in consumer.assigned]

    def _hold(self, consumer: Consumer, hold: Hold) -> None:
        """A whole part is away: waits, keeping the membership, and takes the notes back so that waiting counts as no try."""
        if self.holding is None:
            log.error("%s: waits, because %s", self.stage.name, hold)
        self.holding = hold
        try:
            self._settle(0)
            self._take_back(consumer, consumer.assigned)
            consumer.pause(self._partitions(consumer))
            until = time.monotonic() + hold.probe_after
            while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
                consumer.poll(1, min(left, self._options.idle))
        except (Fenced, Transient) as error:
            log.info("%s: starts afresh: %s", self.stage.name, error)
        self._afresh(consumer)

    # -- partitions come and go ------------------------------------------------------------------------------------------------------

    def _assigned(self, partitions: frozenset[int]) -> None:
        """Only noted here, within the log's poll; what is remembered of them is built right after, where a fault can be handled."""
        self._gained |= partitions

    def _remember(self, consumer: Consumer, batch: Batch) -> Batch:
        """Builds what is remembered of the partitions that were gained, one after another, so that what is done of it stays done when
        others come and go meanwhile. batch: what was polled already; returned as far as it is still ours, with what came meanwhile."""
        self._in_hand, self._gained = batch, self._gained & consumer.assigned
        next_poll = time.monotonic() + _SLICE

        def alive() -> None:
            nonlocal next_poll
            if time.monotonic() >= next_poll:
                self._meanwhile(consumer)
                next_poll = time.monotonic() + _SLICE
            if self._building is None or self._stop.is_set():
                raise _Interrupted

        while self._gained and not self._stop.is_set():
            self._building = number = min(self._gained)
            try:
                alive()  # also where there is nothing to remember, of many partitions
                self.stage.assigned(frozenset({number}), alive)
                self._take_over(consumer, number, alive)
                self._gained -= {number}
            except _Interrupted:
                self.stage.revoked(frozenset({number}))
            finally:
                self._building = None
        consumer.resume([at for at in self._partitions(consumer) if self._parked_at(at) is None])
        batch, self._in_hand = self._in_hand, Batch([], {})
        return batch

    def _meanwhile(self, consumer: Consumer) -> None:
        """Has the group hear of us. What a partition brings that just comes, before it can be paused, is kept."""
        consumer.pause(self._partitions(consumer))
        more = consumer.poll(1, 0.0)
        self._polled_to.update(more.positions)
        self._in_hand.records.extend(more.records)
        self._in_hand.positions.update(more.positions)
        self._check(consumer)

    def _take_over(self, consumer: Consumer, number: int, alive: Alive) -> None:
        """The notes of a partition, and what waits in its retries."""
        standings = consumer.notes(number)
        self._tries.assigned(standings)
        if self._waiting:
            for at, standing in standings.items():
                if self._waiting.is_retry(at):
                    there = between(self._log.read(at.topic, at.partition, start=standing.offset), alive)
                    self._waiting.assigned(record for record in there if not record.carried)

    def _revoked(self, partitions: frozenset[int]) -> None:
        """Finishes what is under way while the partitions are still ours, takes their notes back, and forgets them."""
        consumer = self._consumer
        try:
            self._settle(0)
            if consumer is not None:
                self._take_back(consumer, partitions)
        except LogError as error:  # whatever it is: what was in hand is processed again, and meets it again, where the role can stop of it
            log.info("%s: gave partitions up unfinished: %s", self.stage.name, error)
            self._under_way.clear()
            self._stale = True
        self._tries.revoked(partitions)
        self._forget(partitions)

    def _take_back(self, consumer: Consumer, partitions: frozenset[int]) -> None:
        if notes := self._tries.afresh(partitions):
            consumer.note(notes)

    def _forget(self, partitions: frozenset[int]) -> None:
        self._gained -= partitions
        if self._building in partitions:
            self._building = None
        records, positions = self._in_hand
        self._in_hand = Batch(
            [record for record in records if record.partition not in partitions],
            {at: offset for at, offset in positions.items() if at.partition not in partitions},
        )
        for table in (self._skipped, self._polled_to):
            for at in [at for at in table if at.partition in partitions]:
                del table[at]
        self.stage.revoked(partitions)
        if self._waiting:
            self._waiting.revoked(partitions)
