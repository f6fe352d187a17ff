"""A thread that makes steps durable in the order they were given, several in one transaction where they wait for each other."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from operator import attrgetter
from threading import Condition, Thread

from streams.errors import Fatal, Fenced, LogError, Transient
from streams.kafka.transactions import Step, Transactor

RECORDS = 6_000
"""So many records are reason enough for a transaction before the interval is over: with 3,000 a mail took 8 % longer, with 12,000 as
long."""
BYTES = 16 * 1024 * 1024
"""So many bytes likewise, because a transaction has its time limit on slow networks too."""

_IDLE = 1.0


class Awaited(Future[None]):
    """A future that tells when somebody waits for it: the transaction then need not stay open for others to join."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        super().__init__()
        self._hurry = hurry
        self.set_running_or_notify_cancel()  # It cannot be taken back.

    def result(self, timeout: float | None = None) -> None:
        """See Future.result."""
        if not self.done():
            self._hurry()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See Future.exception."""
        if not self.done():
            self._hurry()
        return super().exception(timeout)


class Pipeline:
    """Steps in, transactions out.

    interval: seconds from the beginning of one transaction to that of the next, unless somebody waits for it. patience: seconds
    after which the brokers count as away. together: once a step has failed, those after it fail too, until `reset`.
    """

    def __init__(self, transactor: Transactor, *, interval: float, patience: float, together: bool) -> None:
        self._transactor = transactor
        self._interval = interval
        self._patience = patience
        self._together = together
        self._turn = Condition()
        self._queue: deque[Step] = deque()
        self._working = True  # taking over, before the first step
        self._hurried = False
        self._closed = False
        self._began = 0.0
        self._failure: LogError | None = None
        self._thread = Thread(target=self._run, name="kafka transactions", daemon=True)
        self._thread.start()

    def future(self) -> Awaited:
        """The future for a step to be submitted."""
        return Awaited(self.hurry)

    def submit(self, step: Step) -> None:
        """Has the step stored after those before it. Its future (of `future`) tells how it went."""
        with self._turn:
            if self._closed:
                step.done.set_exception(Transient("the log is closed"))
            elif self._failure is not None:
                step.done.set_exception(_after(self._failure))
            else:
                self._queue.append(step)
                self._turn.notify_all()

    def hurry(self) -> None:
        """Does not wait for the interval."""
        with self._turn:
            self._hurried = True
            self._turn.notify_all()

    def settle(self, timeout: float) -> bool:
        """Waits until nothing is under way; returns whether that came about in time (seconds)."""
        self.hurry()
        with self._turn:
            return self._turn.wait_for(lambda: not self._queue and not self._working, timeout)

    def fail(self, error: LogError) -> None:
        """What waits fails with the error, and so does what comes, until `reset`. What is under way ends by itself, without another try."""
        with self._turn:
            self._failure = self._failure or error
            self._fail_waiting(error)
            self._turn.notify_all()

    @property
    def failed(self) -> bool:
        """Whether what is submitted fails, until `reset`."""
        return self._failure is not None

    def reset(self) -> None:
        """Ends the state of failure."""
        with self._turn:
            self._failure = None

    def close(self, timeout: float) -> None:
        """Finishes what is under way, for `timeout` seconds at most, and ends the thread."""
        self.settle(timeout)
        with self._turn:
            self._closed = True
            self._fail_waiting(Transient("the log was closed before this could be stored"))
            self._turn.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        # At once, and not with the first step: what a killed worker of our slot left open stands in the way of who reads.
        with contextlib.suppress(LogError):
            self._transactor.ready(time.monotonic() + self._patience)
        while (steps := self._next()) is not None:
            if steps:
                self._work(steps)
            else:
                self._transactor.idle()
        self._transactor.drop()

    def _next(self) -> list[Step] | None:
        """The steps of the next transaction; none after a while without any; None at the end."""
        with self._turn:
            self._working = False
            self._turn.notify_all()
            if not self._turn.wait_for(lambda: self._queue or self._closed, _IDLE):
                return []
            self._turn.wait_for(self._is_time, max(0.0, self._began + self._interval - time.monotonic()))
            if self._closed:
                return None
            if not self._queue:  # `fail` has emptied it while the interval was waited out
                return []
            self._working, self._hurried, self._began = True, False, time.monotonic()
            return self._take()

    def _is_time(self) -> bool:
        return self._hurried or self._closed or sum(len(step.drafts) for step in self._queue) >= RECORDS

    def _take(self) -> list[Step]:
        """Steps that fit into one transaction: of one member, up to so many records and bytes; one at least."""
        steps = [self._queue.popleft()]
        count, size = len(steps[0].drafts), 0
        while self._queue and steps[0].refused is None:
            step = self._queue[0]
            count += len(step.drafts)
            if count > RECORDS or step.member != steps[0].member or step.refused is not None:
                break
            # Not before: to count the bytes of a full batch, which goes alone, would bring all of it into the cache once more.
            size = (size or _size(steps[0])) + _size(step)
            if size > BYTES:
                break
            steps.append(self._queue.popleft())
        return steps

    def _work(self, steps: list[Step]) -> None:
        """Stores the steps together; where one of them is at fault, each by itself, so that the others do not suffer for it."""
        error = self._try(steps)
        if error is None:
            for step in steps:
                step.done.set_result(None)
        elif len(steps) == 1 or isinstance(error, Transient | Fenced):
            self._failed(steps, error)
        else:
            for index, step in enumerate(steps):
                if self._together and self._failure is not None:
                    self._failed(steps[index:], _after(self._failure))
                    return
                self._work([step])

    def _try(self, steps: Sequence[Step]) -> LogError | None:
        if steps[0].refused is not None:
            return steps[0].refused
        try:
            self._transactor.run(steps, time.monotonic() + self._patience, lambda: self._failure is not None)
        except LogError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a fault of ours; whoever waits must hear of it
            ours = Fatal(f"a transaction failed in an unforeseen way: {error!r}")
            ours.__cause__ = error
            return ours
        return None

    def _failed(self, steps: Sequence[Step], error: LogError) -> None:
        with self._turn:
            if self._together:
                self._failure = self._failure or error
                self._fail_waiting(error)
        for step in steps:
            step.done.set_exception(error)

    def _fail_waiting(self, error: LogError) -> None:
        while self._queue:
            self._queue.popleft().done.set_exception(_after(error))


def _size(step: Step) -> int:
    return sum(map(len, map(_VALUE, step.drafts)))


_VALUE = attrgetter("value")


def _after(error: LogError) -> LogError:
    """What a step fails with because one before it failed."""
    after = type(error)(f"a commit before this one failed: {error}")
    after.__cause__ = error
    return after
