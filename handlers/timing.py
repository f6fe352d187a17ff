"""Time limits for plain functions: worker threads that take a whole batch at once, and are watched.

A thread that overruns cannot be stopped in Python, so it is abandoned: its delivery gets Again, whatever it comes to later is
ignored, and a new thread goes on with the rest. To the mails that keep within the limit the watch costs nothing.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from handlers.batch import Batch
from handlers.word import Word
from streams.stage import Again
from topology.facts import Facts


def overran(limit: float) -> Again:
    """The word on a delivery that ran out of time."""
    return Again(f"the handler took longer than its time limit of {limit:g} s", timeout=True)


class Call:
    """What one caller has under way, as the watch sees it. place: in the batch, None between two. lane: what it goes on with.
    cut_off: takes from an abandoned call what it could still do harm with (its database connection); set by the call itself."""

    def __init__(self) -> None:
        self.place: int | None = None
        self.lane: deque[int] = deque()
        self.abandoned = False
        self.cut_off: Callable[[], None] | None = None
        self.since = time.monotonic()
        self._lock = threading.Lock()

    def begins(self, place: int) -> bool:
        """The delivery at this place begins. False when the caller was abandoned and must go."""
        with self._lock:
            self.place, self.cut_off, self.since = place, None, time.monotonic()
            return not self.abandoned

    def ends(self) -> bool:
        """It has ended. False when it was abandoned meanwhile, and what it came to does not count."""
        with self._lock:
            self.place, self.since = None, time.monotonic()
            return not self.abandoned

    def left(self, limit: float) -> float:
        """Seconds left to what is under way."""
        return self.since + limit - time.monotonic()

    def abandon(self, *, even_idle: bool = False) -> int | None:
        """Gives up what is under way, and returns its place. When it has just ended: None, and nothing is given up, unless `even_idle`."""
        with self._lock:
            place = self.place
            self.abandoned = place is not None or even_idle
            cut_off = self.cut_off
        if place is not None and cut_off:
            cut_off()
        return place


def due(call: Call, lanes: deque[deque[int]], batch: Batch) -> Iterator[tuple[int, bytes]]:
    """The deliveries that this caller is to handle, lane after lane: places, and their mails. The caller says `call.ends()` before it
    takes the next one, and goes when that is False."""
    while not batch.stopped:
        try:
            call.lane = lane = lanes.popleft()
        except IndexError:
            return
        while lane and not batch.stopped:
            place = lane.popleft()
            if not call.begins(place):
                return
            begun = batch.begin(place)
            if isinstance(begun, bytes):
                yield place, begun
            elif call.ends():
                batch.say(place, begun)
            else:
                return


Job = Callable[[Call], None]
Done = SimpleQueue["tuple[Worker, BaseException | None]"]
"""Where a worker puts itself when its job is over, with what the job raised."""


class Worker(Call):
    """A thread that runs jobs, until it is abandoned or closed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def start(self, job: Job, done: Done) -> None:
        """Runs the job in the thread; puts itself and what the job raised into `done`."""
        self.since = time.monotonic()
        self._jobs.put((job, done))

    def close(self) -> None:
        """The thread ends with its present job."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (order := self._jobs.get()) is not None:
            job, done = order
            problem: BaseException | None = None
            try:
                job(self)
            except BaseException as error:  # noqa: BLE001 - it is raised again where the job was ordered
                problem = error
            if self.abandoned:
                return
            done.put((self, problem))
            del order, job, done, problem


class Crew:
    """Worker threads for one handler. name: of the threads. limit: seconds for one delivery. size: how many at once."""

    def __init__(self, name: str, limit: float, size: int = 1) -> None:
        self._name = name
        self._limit = limit
        self._workers = [Worker(name) for _ in range(size)]

    def run(self, batch: Batch, handle: Callable[[Call, Facts, bytes], Word]) -> None:
        """Calls `handle(call, facts, raw)` for everything in the batch that has no word yet, and says the words. Returns when nothing
        is under way. Raises what `handle` raised (the batch is stopped then)."""
        lanes = batch.lanes(len(self._workers))

        def job(call: Call) -> None:
            try:
                for place, raw in due(call, lanes, batch):
                    word = handle(call, batch.facts[place], raw)
                    if not call.ends():
                        return
                    batch.say(place, word)
            except BaseException:
                if not call.abandoned:
                    batch.stop()
                    raise

        done: Done = SimpleQueue()
        active = set(self._workers[: len(lanes)])
        for worker in active:
            worker.start(job, done)
        problem: BaseException | None = None
        while active:
            try:
                worker, raised = done.get(timeout=max(0.001, min(worker.left(self._limit) for worker in active)))
                active.discard(worker)
                problem = problem or raised
            except Empty:
                for late in [worker for worker in active if worker.left(self._limit) <= 0]:
                    if (place := late.abandon()) is None:
                        continue
                    active.discard(late)
                    batch.say(place, overran(self._limit))
                    if late.lane:
                        lanes.appendleft(late.lane)
                    new = self._replaced(late)
                    if lanes and not batch.stopped:
                        active.add(new)
                        new.start(job, done)
        if problem:
            raise problem

    def close(self) -> None:
        """The threads end."""
        for worker in self._workers:
            worker.close()

    def _replaced(self, worker: Worker) -> Worker:
        new = Worker(self._name)
        self._workers[self._workers.index(worker)] = new
        return new
