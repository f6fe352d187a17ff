"""Who may work beside whom: among the deliveries of one handler on Faust, and among the runners of the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager

from streams.gate import Gate as Runners


class Gate:
    """Lets many deliveries in, or one alone. First come, first in: who waits to be alone keeps newcomers out until those inside have
    left."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """With others."""
        async with self._door:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """With nobody else."""
        async with self._door:
            await self._empty.wait()
            yield


class Outside:
    """The gate that the runners of the process share (`streams.gate`), entered round each call of the handler. The deliveries stand in
    it as one, from the first that enters to the last that leaves."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._door = asyncio.Lock()
        self._inside = 0
        self._place = ExitStack()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Beside the others."""
        async with self._door:
            if not self._inside:
                await _enter(self._place, self._runners.together())
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._place.close()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While nobody else in the process works."""
        with ExitStack() as place:
            await _enter(place, self._runners.alone())
            yield


async def _enter(place: ExitStack, runners: AbstractContextManager[None]) -> None:
    """Enters what may block. Where we are cancelled meanwhile, it is left again as soon as it is entered."""
    entering = asyncio.ensure_future(asyncio.to_thread(place.enter_context, runners))
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda _entered: place.close())
        raise
