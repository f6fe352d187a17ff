"""Lets many deliveries work side by side, or one alone: also alone among the runners of the process, whose gate stands round ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager

from streams.gate import Gate as Outer


class Gate:
    """First come, first in. Who waits to be alone keeps newcomers out until those inside have left. outer: the process's; we stand in
    it as one, from the first that enters to the last that leaves."""

    def __init__(self, outer: Outer) -> None:
        self._outer = outer
        self._door = asyncio.Lock()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._place = ExitStack()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """With others."""
        async with self._door:
            if not self._inside:
                await _enter(self._place, self._outer.together())
                self._empty.clear()
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._place.close()
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """With nobody else."""
        async with self._door:
            await self._empty.wait()
            with ExitStack() as place:
                await _enter(place, self._outer.alone())
                yield


async def _enter(place: ExitStack, outer: AbstractContextManager[None]) -> None:
    """Enters what may block. Where we are cancelled meanwhile, it is left again as soon as it is entered."""
    entering = asyncio.ensure_future(asyncio.to_thread(place.enter_context, outer))
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda _entered: place.close())
        raise
