"""Moves the group on, and writes the notes of tries beside where it stands."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from postroom.faust.notes import Notes
from postroom.faust.progress import Progress
from streams.errors import Transient
from streams.record import TopicPartition

log = logging.getLogger("postroom.run")

EVERY = 0.2
"""Seconds between commits. What was done since the last one is done again after a kill -9."""
_BACKOFF = 0.5

Write = Callable[[Mapping[TopicPartition, tuple[int, str]]], Awaitable[bool]]
"""As `postroom.faust.app.FaustApp.commit`."""


class Commits:
    """One commit at a time, in order. moved: called after each."""

    def __init__(self, write: Write, progress: Progress, notes: Notes, moved: Callable[[], None]) -> None:
        self._write = write
        self._progress = progress
        self._notes = notes
        self._moved = moved
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Follows what is done, until cancelled. Raises Fatal."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), EVERY)
            self._wanted.clear()
            await self.move()

    def hasten(self) -> None:
        """Asks for a move soon."""
        self._wanted.set()

    async def move(self) -> None:
        """Moves the group to what is done. Returns when it has moved, or when the partitions are ours no more. Raises Fatal."""
        async with self._lock:
            positions = self._progress.moved()
            notes = self._notes.moving(positions)
            if notes and await self._written({at: (positions[at], note) for at, note in notes.items()}):
                self._progress.committed(positions)
        self._moved()

    async def note(self, notes: Mapping[TopicPartition, str]) -> bool:
        """Writes notes beside where the group stands. False when a partition is ours no more. Raises Fatal."""
        async with self._lock:
            places = {at: (standing, note) for at, note in notes.items() if (standing := self._progress.standing(at)) is not None}
            return len(places) == len(notes) and (not places or await self._written(places))

    async def take_back(self) -> None:
        """Nothing is in hand: moves the group to what is done, and takes our notes away."""
        await self.move()
        await self.note(self._notes.taken_back())

    async def _written(self, positions: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        while True:
            try:
                return await self._write(positions)
            except Transient as error:
                log.warning("the log is away: %s", error)
                await asyncio.sleep(_BACKOFF)
