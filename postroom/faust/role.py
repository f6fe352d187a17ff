"""The role handler:NAME on Faust, as `postroom run` runs it: a thread with an event loop, in it one app at a time, and a new one when
that was cut off from the brokers."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from handlers.breaker import Breaker
from handlers.python import PythonHandler
from postroom.faust.app import FaustApp, Terms
from postroom.faust.desk import Desk, Parts
from postroom.faust.gate import Outside
from postroom.faust.notes import Notes
from postroom.faust.progress import Progress
from postroom.faust.teller import Teller
from streams.errors import LogError, PositionExpired, Transient
from streams.faults import Hold
from streams.gate import Gate
from streams.log import Log, Standing
from streams.record import Record, TopicPartition
from topology.ports import Archive
from topology.records import Topics

log = logging.getLogger("postroom.run")

GIVE_UP = 5.0
"""Seconds that a rebalance waits for deliveries under way. What takes longer the next owner calls again, and the first word counts."""
STOP = 15.0
"""Seconds beyond the handler's time limit that a stop waits for deliveries under way."""
_BACKOFF = 1.0
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Setting:
    """What the role is made of. limit: the handler's time limit in seconds. terms: of the apps."""

    handler: PythonHandler
    terms: Terms
    topics: Topics
    log: Log
    archive: Archive
    gate: Gate
    clock: Callable[[], int]
    inline_limit: int
    limit: float


class FaustRole:
    """What `postroom.running` needs of a role, like `streams.runner.Runner`."""

    def __init__(self, setting: Setting) -> None:
        self.name = f"handler:{setting.handler.name}"
        self.group = setting.terms.group
        self.topics = list(setting.terms.delays)
        self._setting = setting
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._breaker = Breaker(setting.handler.name, setting.handler.pause_after, time.monotonic)
        self._life: _Life | None = None

    @property
    def busy(self) -> bool:
        """Whether it is working on records right now (not while it holds)."""
        return self._life is not None and self._life.desk.busy

    @property
    def holding(self) -> Hold | None:
        """What the role waits for, or None."""
        return self._life.desk.holding if self._life else None

    def stop(self) -> None:
        """Asks it to stop, when what is under way has ended. Returns at once; thread-safe."""
        self._stopped = True
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._stop.set)

    def run(self) -> None:
        """Works until `stop`. Raises Fatal and Newer, upon which the role is over; waits out everything that passes."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._stopped:
            self._stop.set()
        while not self._stop.is_set():
            life = self._life = _Life(self._setting, self._breaker)
            try:
                await life.live(self._stop)
            except Transient as error:
                log.warning("%s: begins again: %s", self.name, error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), _BACKOFF)


class _Life:
    """One app, from joining the group to leaving it."""

    def __init__(self, setting: Setting, breaker: Breaker) -> None:
        self._setting = setting
        self._progress = Progress()
        self._notes = Notes(setting.terms.concurrency)
        self._app = FaustApp(setting.terms, self._progress, self)
        self.desk = Desk(
            Parts(
                setting.handler,
                setting.topics,
                setting.archive,
                setting.log.id,
                Teller(setting.log, setting.archive, setting.inline_limit),
                Outside(setting.gate),
                breaker,
                self._progress,
                self._notes,
                self._app.commit,
                setting.clock,
                setting.terms.concurrency,
            )
        )

    async def live(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises Transient, Fatal, Newer."""
        committing = asyncio.create_task(self.desk.commits.run())
        try:
            await asyncio.to_thread(self._setting.log.ensure_group, self._setting.terms.group, list(self._setting.terms.delays))
            starting = asyncio.create_task(self._app.start())  # which waits for its first partitions, however long that takes
            while not stop.is_set() and self.desk.fault is None and not committing.done() and self._app.crashed is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK)
                if starting.done():
                    await starting
            starting.cancel()
            if self._app.crashed is None:
                await self.desk.close(self._setting.limit + STOP)
                with suppress(TimeoutError):
                    async with asyncio.timeout(GIVE_UP):
                        await self.desk.commits.take_back()
        finally:
            committing.cancel()
            crashed = self._app.crashed
            await self._app.stop()
        if self.desk.fault:
            raise self.desk.fault
        if crashed:
            raise crashed
        if committing.done() and not committing.cancelled() and (error := committing.exception()):
            raise error

    # -- what the app calls: see `postroom.faust.app.Hand` -------------------------------------------------------------------------------

    async def deliver(self, record: Record) -> None:
        await self.desk.deliver(record)

    async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        while True:
            try:
                standings = await asyncio.to_thread(self._standings, partitions)
            except Transient as error:
                log.warning("group %s: the log is away: %s", self._setting.terms.group, error)
                await asyncio.sleep(_BACKOFF)
            except LogError as error:
                self.desk.end(error)  # raised here it would end in aiokafka's log
                return
            else:
                self._notes.assigned(standings)
                self._progress.assigned({at: standing.offset for at, standing in standings.items()})
                return

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        if not partitions:
            return
        async with self.desk.paused(GIVE_UP):
            await self.desk.commits.take_back()
            self._progress.revoked(partitions)
            self._notes.revoked(partitions)
        self.desk.stir()

    def _standings(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, Standing]:
        """Where the group stands in these. Raises Transient, PositionExpired."""
        topics, event_log, group = sorted({at.topic for at in partitions}), self._setting.log, self._setting.terms.group
        found = event_log.standings(group, topics)
        for topic in topics:
            for number, extent in enumerate(event_log.extents(topic)):
                at = TopicPartition(topic, number)
                if at in partitions and (standing := found.get(at)) is not None and standing.offset < extent.first:
                    raise PositionExpired(
                        f"group {group} stands at {standing.offset} in {topic}[{number}], where the topic begins at {extent.first}: its "
                        f"retention took what was not read. Set the group's position to where it shall go on "
                        f"(kafka-consumer-groups --reset-offsets), and the topic's retention longer"
                    )
        return {at: found[at] for at in partitions if at in found}
