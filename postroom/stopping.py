"""Being asked to stop, also by a signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType


class Stop:
    """An event that a signal handler may set. `threading.Event` waits with a lock in hand that its `set` takes, so a signal that comes
    just when the wait ends would wait for itself, for ever; the queue's `put` is made to be called at any moment. One thread waits."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._set = False
        self.signal: str | None = None
        """The name of the first signal that asked for it."""

    def set(self) -> None:
        """Asks for the stop, and wakes who waits. From any thread and any signal handler."""
        self._set = True
        self._asked.put(None)

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Returns when it is asked for, or after so many seconds; whether it was."""
        if not self._set:
            with suppress(Empty):
                self._asked.get(timeout=seconds)
        return self._set


@contextmanager
def on_signals(stop: Stop) -> Iterator[None]:
    """Within it SIGTERM and SIGINT ask for a stop."""

    def on(number: int, _frame: FrameType | None) -> None:
        stop.signal = stop.signal or signal.Signals(number).name
        stop.set()

    before = {number: signal.signal(number, on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
