"""Time limits for coroutine functions: one event loop in a thread of its own, and a watch over that.

A coroutine that runs out of time is cancelled, and ignored when it will not have that. One that blocks the loop cannot even be
cancelled; then the thread is abandoned with all that runs on it, and a new loop goes on. What stood still beside it until its own
time was over is as late; what was not late yet is called again there.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any

from handlers.batch import Batch
from handlers.timing import Call, due, overran
from handlers.word import Said, Word, of_raise
from topology.facts import Facts

log = logging.getLogger("postroom.handlers")

GRACE = 5.0
"""Seconds that a cancelled coroutine has to tidy up, and twice as many that a loop has to answer, before it is given up."""

Handle = Callable[[Call, Facts, bytes], Coroutine[Any, Any, Word]]


class LoopCrew:
    """The event loop of one handler. name: of its thread. limit: seconds for one delivery. size: how many at once. grace: see GRACE."""

    def __init__(self, name: str, limit: float, size: int = 1, grace: float = GRACE) -> None:
        self._name = name
        self._limit = limit
        self._size = size
        self._grace = grace
        self._loop, self._thread, self._end = _new_loop(name, grace)
        self._gone: asyncio.Future[None] | None = None
        """Done when the handler's loop was given up; made by the first `one`, in the loop that awaits it."""

    def run(self, batch: Batch, handle: Handle) -> None:
        """As `timing.Crew.run`, with `await handle(call, facts, raw)`, which has other people's coroutines run by `timed`."""
        lanes = batch.lanes(self._size)
        while lanes and not batch.stopped:
            calls = [Call() for _ in range(min(self._size, len(lanes)))]
            shift = asyncio.run_coroutine_threadsafe(_shift(calls, lanes, batch, handle), self._loop)
            if self._answers(shift, calls):
                shift.result()
            else:
                self._give_up(calls, lanes, batch)

    async def one(self, facts: Facts, raw: bytes, handle: Handle) -> Word:
        """A single delivery, awaited in another event loop than the handler's, and always in the same one; any number may be under
        way at once. What was not late yet when the handler's loop was given up is called again in the new one. Raises what `handle`
        raises."""
        while True:
            call, loop = Call(), self._loop
            if self._gone is None:
                self._gone = asyncio.get_running_loop().create_future()
            call.begins(0)
            under_way = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(handle(call, facts, raw), loop))
            either: set[asyncio.Future[Any]] = {under_way, self._gone}
            await asyncio.wait(either, timeout=call.left(self._limit) + 2 * self._grace, return_when=asyncio.FIRST_COMPLETED)
            if under_way.done():
                return under_way.result()
            late = call.left(self._limit) <= 0
            call.abandon(even_idle=True)
            if self._loop is loop:
                self._replace_loop()
            if late:
                return overran(self._limit)

    async def timed(self, call: Call, coroutine: Coroutine[Any, Any, Word]) -> Word:
        """What the coroutine comes to within the time limit. It runs as a task of its own, so that what it does to its task stays there."""
        task = asyncio.create_task(coroutine)
        await asyncio.wait({task}, timeout=max(0.0, call.left(self._limit)))
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=self._grace)
        if not task.done():
            if call.cut_off:
                call.cut_off()
            return overran(self._limit)
        word = of_raise(asyncio.CancelledError("the handler cancelled its own task"), None) if task.cancelled() else task.result()
        return self.in_time(call, word)

    def in_time(self, call: Call, word: Word) -> Word:
        """The word that counts. What was finished while it was being cancelled is finished; how it failed then says nothing but that it was
        late."""
        late = call.left(self._limit) <= 0
        return overran(self._limit) if late and isinstance(word, Said) and word.status == "failed" else word

    def close(self) -> None:
        """The loop and its thread end; what still runs there is cancelled, and waited for a little."""
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(2 * self._grace)

    def _answers(self, shift: "Future[None]", calls: list[Call]) -> bool:
        """Waits until the shift is over; False when its loop does not answer in time."""
        while (left := min(call.left(self._limit) for call in calls) + 2 * self._grace) > 0:
            if wait([shift], timeout=left).done:
                return True
        return False

    def _give_up(self, calls: list[Call], lanes: deque[deque[int]], batch: Batch) -> None:
        for call in calls:
            late = call.left(self._limit) <= 0
            place = call.abandon(even_idle=True)
            if place is not None and late:
                batch.say(place, overran(self._limit))
            elif place is not None:
                call.lane.appendleft(place)
            if call.lane:
                lanes.appendleft(call.lane)
        self._replace_loop()

    def _replace_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._end)  # should it ever come back
        self._loop, self._thread, self._end = _new_loop(self._name, self._grace)
        if self._gone is not None:
            gone, self._gone = self._gone, None
            gone.set_result(None)


async def _shift(calls: list[Call], lanes: deque[deque[int]], batch: Batch, handle: Handle) -> None:
    """So many deliveries at once, until nothing is left."""
    ends = await asyncio.gather(*(_work(call, lanes, batch, handle) for call in calls), return_exceptions=True)
    for end in ends:
        if end is not None:
            raise end


async def _work(call: Call, lanes: deque[deque[int]], batch: Batch, handle: Handle) -> None:
    try:
        for place, raw in due(call, lanes, batch):
            word = await handle(call, batch.facts[place], raw)
            if not call.ends():
                return
            batch.say(place, word)
    except BaseException:
        if not call.abandoned:
            batch.stop()
            raise


def _new_loop(name: str, grace: float) -> tuple[asyncio.AbstractEventLoop, threading.Thread, Callable[[], None]]:
    """A loop that runs, its thread, and what ends it when it is called there."""
    loop = asyncio.new_event_loop()
    over = False

    def end() -> None:
        nonlocal over
        over = True
        loop.stop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        while not over:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # Out of a task that the handler made and did not wait for; asyncio lets these two through.
                log.error("%s: a task in the background raised %s, which ends nothing but that task", name, type(error).__name__)
            else:
                if not over:
                    log.error("%s: a coroutine stopped the event loop, on which others run as well; it goes on", name)
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=grace))
        loop.close()

    thread = threading.Thread(target=serve, name=name, daemon=True)
    thread.start()
    return loop, thread, end
