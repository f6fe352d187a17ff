"""The deliveries in hand of one handler on Faust: each is called, its word told, and only then is it done.

Mails of one sender to one recipient go in their order, but for what asks for time; whatever waits holds up nobody else. A whole part that
is away, a handler that pauses, and a mail that kills the process are dealt with as in the runner (DESIGN.md section 4, Faults).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from handlers.breaker import Breaker
from handlers.python import PythonHandler
from handlers.said import said_draft, telling
from handlers.word import GONE, Word
from postroom.faust.commits import Commits, Write
from postroom.faust.gate import Gate, Outside
from postroom.faust.holding import Holding
from postroom.faust.notes import Notes
from postroom.faust.progress import Progress
from postroom.faust.teller import Teller
from streams.errors import LogError
from streams.faults import Hold, Newer
from streams.record import Record, TopicPartition
from streams.stage import Failure
from topology.ending import sender_of
from topology.facts import Facts
from topology.ports import Archive
from topology.records import Topics, facts_of

log = logging.getLogger("postroom.handlers")

QUEUED = 1000
"""Deliveries in hand beyond the concurrency: those behind an earlier one of the same sender and recipient."""
_LOOK = 0.02
_REBALANCE = 0.1
"""Seconds until we look again whether a partition, of which the group just said that it is not ours, is given up."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a desk works with. breaker: outlives it. write: commits. clock: ms since 1970. log_id: the log's."""

    handler: PythonHandler
    topics: Topics
    archive: Archive
    log_id: str
    teller: Teller
    outside: Outside
    breaker: Breaker
    progress: Progress
    notes: Notes
    write: Write
    clock: Callable[[], int]
    concurrency: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record in hand. facts: None where they cannot be read; error: why."""

    record: Record
    facts: Facts | None
    error: Exception | None = None

    @property
    def lane(self) -> object:
        """What keeps its order: mails of one sender to one recipient."""
        if self.facts is None or self.facts.route is None:
            return self.record.at, self.record.offset
        return self.facts.envelope.sender or self.facts.envelope.mail_id, self.facts.route.recipient


class Desk:
    """See the module. For one life of an app."""

    def __init__(self, parts: Parts) -> None:
        self.done = 0
        self.fault: BaseException | None = None
        """What ends the role: facts of a newer version, or a log that will not take a word."""
        self._parts = parts
        self._gate = Gate()
        self._holding = Holding(parts.handler.name, parts.breaker)
        self.commits = Commits(parts.write, parts.progress, parts.notes, self.stir)
        self._in_hand: set[tuple[TopicPartition, int]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._lanes: dict[object, deque[Delivery]] = {}
        self._arriving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._noting = asyncio.Lock()
        self._closing = asyncio.Event()

    @property
    def holding(self) -> Hold | None:
        """What the role waits for, or None."""
        return self._holding.part

    @property
    def busy(self) -> bool:
        """Whether something is under way that does not just wait."""
        return bool(self._in_hand) and self.holding is None

    def stir(self) -> None:
        """Something has changed: whoever waits for room looks again."""
        self._changed.set()

    async def close(self, patience: float) -> None:
        """Begins nothing more, and returns when nothing is under way but what waits itself, or after so many seconds."""
        self._closing.set()
        self.stir()
        until = time.monotonic() + patience
        while self.busy and not self._parts.teller.away and time.monotonic() < until:
            await asyncio.sleep(_LOOK)

    @asynccontextmanager
    async def paused(self, patience: float) -> AsyncIterator[None]:
        """Within it nothing is under way, unless something was that took longer than so many seconds."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(patience):
                    await stack.enter_async_context(self._gate.alone())
            except TimeoutError:
                log.info("handler %s: gives partitions up with deliveries under way", self._parts.handler.name)
            yield

    # -- who comes when ---------------------------------------------------------------------------------------------------------------

    async def deliver(self, record: Record) -> None:
        """See `postroom.faust.app.Hand`. Returns when the handler has said its word, and likewise on those that came behind it meanwhile;
        or at once, when it is behind another that somebody works on."""
        async with self._arriving:  # in the order in which they came
            lane = await self._lane(record)
        while lane:
            try:
                await self._work(lane[0])
            finally:
                if len(lane) == 1:
                    del self._lanes[lane[0].lane]
                lane.popleft()

    async def _lane(self, record: Record) -> "deque[Delivery] | None":
        """Takes a record in hand: its lane where it is the first of it, None where somebody works on that, or where it is not to be done:
        fetched again while it was in hand, or not ours any more."""
        place = record.at, record.offset
        while not (self._over or self._has_room(record)):
            self._changed.clear()
            await self._changed.wait()
        if self._over or place in self._in_hand or not self._parts.progress.is_pending(*place):
            return None
        try:
            delivery = _delivery(record)
        except Newer as newer:
            self.end(newer)
            return None
        self._in_hand.add(place)
        lane = self._lanes.setdefault(delivery.lane, deque())
        lane.append(delivery)
        return lane if len(lane) == 1 else None

    def _has_room(self, record: Record) -> bool:
        standing = self._parts.progress.standing(record.at)
        if standing is None:
            return True  # to be dropped
        return len(self._in_hand) < self._parts.concurrency + QUEUED and self._parts.notes.may_begin(record, standing)

    @property
    def _over(self) -> bool:
        return self._closing.is_set() or self.fault is not None

    def end(self, fault: BaseException) -> None:
        """The role is over, for this reason."""
        self.fault = self.fault or fault
        self.stir()

    # -- one delivery -----------------------------------------------------------------------------------------------------------------

    async def _work(self, delivery: Delivery) -> None:
        """Until the handler has said its word, or the delivery is not ours any more. The word is told behind our back, so that the next
        delivery need not wait until it is durable; nobody is alone before it is."""
        try:
            while self._goes_on(delivery):
                alone = self._must_be_alone(delivery)
                async with AsyncExitStack() as place:
                    await place.enter_async_context(self._gate.alone() if alone else self._gate.together())
                    if not self._goes_on(delivery) or alone != self._must_be_alone(delivery):
                        continue  # what we waited behind has changed what there is to do
                    if (word := await self._judged(delivery)) is not None:
                        task = asyncio.create_task(self._tell(delivery, word, place.pop_all()))
                        self._telling.add(task)
                        task.add_done_callback(self._telling.discard)
                        return
        except (Newer, LogError) as error:
            self.end(error)
        self._drop(delivery)

    async def _tell(self, delivery: Delivery, word: Word | Failure, place: AsyncExitStack) -> None:
        """Makes the word durable; with that the delivery is done."""
        parts, record = self._parts, delivery.record
        async with place:
            try:
                told = telling(word, record, parts.log_id, parts.clock())
                await parts.teller.tell(said_draft(parts.topics, parts.handler.name, record, delivery.facts, told))
                parts.progress.done(record.at, record.offset)
                self.done += 1
                if parts.notes.must_be_alone(record):
                    await self.commits.move()
                elif parts.notes.is_wary(record.at):
                    self.commits.hasten()
            except LogError as error:
                self.end(error)
            finally:
                self._drop(delivery)

    def _drop(self, delivery: Delivery) -> None:
        """Not in hand any more."""
        self._in_hand.discard((delivery.record.at, delivery.record.offset))
        self.stir()

    def _goes_on(self, delivery: Delivery) -> bool:
        return not self._over and self._parts.progress.is_pending(delivery.record.at, delivery.record.offset)

    def _must_be_alone(self, delivery: Delivery) -> bool:
        return self._holding.part is not None or self._parts.notes.must_be_alone(delivery.record)

    async def _judged(self, delivery: Delivery) -> Word | Failure | None:
        """The word on a delivery; None when it has to wait. Raises Newer, LogError."""
        record = delivery.record
        if not self._parts.notes.condemned(record):
            return await self._word(delivery)
        log.error("handler %s: %s %d@%d killed its worker and is set aside", self._parts.handler.name, *record.at, record.offset)
        return Failure("crashed")

    async def _word(self, delivery: Delivery) -> Word | Failure | None:
        """What the handler says; None when it has to wait. While the handler waits for a part, this is the one delivery that is tried,
        and goes on trying. Raises Newer, LogError."""
        holding, outside, trying = self._holding, self._parts.outside, self._holding.part is not None
        while True:
            if trying:
                await holding.wait(self._closing)
            if not self._goes_on(delivery):
                return None
            alone = self._parts.notes.must_be_alone(delivery.record)
            try:
                async with outside.alone() if alone else outside.together():
                    if not await self._noted(delivery.record):
                        return None
                    word = await self._called(delivery)
            except Hold as hold:
                holding.begins(hold)
                await self.commits.take_back()  # so that waiting counts as no try
                if not trying:
                    return None
                continue
            if isinstance(word, Failure):
                holding.is_over()
                return word
            told = holding.hears(word, sender_of(delivery.facts) if delivery.facts else None)
            if holding.part:
                await self.commits.take_back()
            return word if told else None

    async def _called(self, delivery: Delivery) -> Word | Failure:
        """Raises Hold, Newer, LogError."""
        facts, record = delivery.facts, delivery.record
        if facts is None:
            return Failure("error", delivery.error)
        try:
            raw: bytes | None = record.value
            if facts.envelope.archived is not None:
                raw = await asyncio.to_thread(self._parts.archive.get, facts.envelope.archived)
            return GONE if raw is None else await self._parts.handler.one(facts, raw)
        except (Hold, Newer, LogError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever goes wrong round the handler is this record's fault
            return Failure("error", error)

    async def _noted(self, record: Record) -> bool:
        """Sees to it that the try is noted before it runs. False when the partition is not ours any more."""
        notes = self._parts.notes
        if notes.beginning(record) is None:
            return True
        async with self._noting:
            if (note := notes.beginning(record)) is None:
                return True
            if await self.commits.note({record.at: note}):
                notes.begun(record.at)
                return True
            await asyncio.sleep(_REBALANCE)
        return False


def _delivery(record: Record) -> Delivery:
    """Raises Newer."""
    try:
        facts = facts_of(record)
        if facts.route is None:
            raise ValueError("not a routed mail: its facts have no route")
    except Newer:
        raise
    except Exception as error:  # noqa: BLE001 - whatever stands in the record, it must end as an outcome
        return Delivery(record, None, error)
    return Delivery(record, facts)
