"""Processes that work side by side: each makes a worker of its own, with its own view of the log, and gives it tasks.

They are spawned and not forked: a broker's client has threads, and a connection to SQLite may not cross a fork.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar

from postroom import collecting
from postroom.printable import log_to_stderr

Tick = Callable[[int], None]
"""Told with how much more is done."""

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

_DONE: Final = "done"
_TICK: Final = "tick"
_FAULT: Final = "fault"
_PATIENCE = 2.0
"""Seconds for a process to end when it has nothing more to do."""


class Worker(Protocol[T_contra, R_co]):
    """What works on tasks, one after another, and may keep state between them."""

    def __call__(self, task: T_contra, tick: Tick, /) -> R_co:
        """The result of a task."""

    def close(self) -> None:
        """No more tasks come."""


def cores() -> int:
    """How many processors we may use."""
    return len(os.sched_getaffinity(0))


class Crew(Generic[T, R]):
    """So many workers, each in a process of its own; one alone works in this process, at once. make: makes a worker, in the process in
    which it is to work; it must pickle, as tasks and results must, and what a worker raises is raised here. Leave it to end them all."""

    def __init__(self, count: int, make: Callable[[], Worker[T, R]]) -> None:
        self._alone = make() if count == 1 else None
        self._hands = [] if count == 1 else [_Hand(make) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._hands) or 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._alone:
            self._alone.close()
        for hand in self._hands:
            hand.end(at_once=error is not None)

    def each(self, tasks: Sequence[T], tick: Tick = lambda _count: None) -> list[R]:
        """Gives the first worker the first task, the second the second, and so on; not more tasks than workers. The results, in the
        order of the tasks."""
        if self._alone:
            return [self._alone(task, tick) for task in tasks]
        busy = dict(zip(self._hands, range(len(tasks)), strict=False))
        for hand, place in busy.items():
            hand.give(tasks[place])
        results: dict[int, R] = {}
        while busy:
            for hand, result in _heard(busy, tick):
                results[busy.pop(hand)] = result
        return [results[place] for place in range(len(tasks))]

    def spread(self, tasks: Iterable[T], tick: Tick = lambda _count: None) -> Iterator[R]:
        """Gives each task to whoever is free. The results, as they come."""
        if self._alone:
            for task in tasks:
                yield self._alone(task, tick)
            return
        left = iter(tasks)
        free, busy = list(self._hands), set[_Hand]()
        while True:
            for hand, following in zip(list(free), left, strict=False):
                hand.give(following)
                free.remove(hand)
                busy.add(hand)
            if not busy:
                return
            for hand, result in _heard(busy, tick):
                busy.remove(hand)
                free.append(hand)
                yield result


class _Hand:
    """One process, seen from here."""

    def __init__(self, make: Callable[[], Worker[Any, Any]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, make, logging.getLogger().getEffectiveLevel()), daemon=True)
        self._process.start()
        other.close()

    def give(self, task: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended; what it said last is still to be heard
            self.line.send(task)

    def hear(self) -> tuple[Literal["done", "tick", "fault"], Any]:
        try:
            word: tuple[Literal["done", "tick", "fault"], Any] = self.line.recv()
        except EOFError:
            self._process.join(_PATIENCE)
            return _FAULT, RuntimeError(f"a process that worked for this command died (exit {self._process.exitcode}); nothing was written")
        return word

    def end(self, *, at_once: bool) -> None:
        self.line.close()
        if at_once:
            self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _heard(busy: Iterable[_Hand], tick: Tick) -> Iterator[tuple[_Hand, Any]]:
    """Waits until somebody says something; those who are done, with their results. Raises what a worker raised."""
    by_line = {hand.line: hand for hand in busy}
    for line in wait(list(by_line)):
        assert isinstance(line, Connection)
        kind, word = by_line[line].hear()
        if kind == _FAULT:
            raise word
        if kind == _TICK:
            tick(word)
        else:
            yield by_line[line], word


def _work(line: Connection, make: Callable[[], Worker[Any, Any]], level: int) -> None:
    """The process. level: what it logs."""
    log_to_stderr(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us hears it too, and ends us
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody waits for us any more
        try:
            worker = make()
            collecting.settle()
            try:
                while True:
                    line.send((_DONE, worker(line.recv(), lambda count: line.send((_TICK, count)))))
            finally:
                worker.close()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again where the result is waited for
            line.send((_FAULT, _portable(error)))


def _portable(error: Exception) -> Exception:
    """The error, or, where it cannot cross over to another process, its text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever kept it from crossing
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
