"""Runs roles: a thread each, until a signal, or with --drain until every group stands at its topics' end."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from postroom import collecting
from postroom.stopping import Stop, on_signals
from streams.errors import LogError
from streams.log import Log

log = logging.getLogger("postroom.run")

_LOOK_EVERY = 0.02
"""Seconds between looks at whether everything is drained; grows to ten times that while there is much to do."""
_NEAR = 5000
"""Records, each counted for every group that has it before it: some quarter of a second's work."""


class Role(Protocol):
    """What runs: a `streams.runner.Runner`, or something like it. run: works until `stop`, and raises what ends it. busy: works on records
    right now. group: stands in these topics."""

    @property
    def group(self) -> str: ...

    @property
    def topics(self) -> Sequence[str]: ...

    @property
    def busy(self) -> bool: ...

    def run(self) -> None: ...

    def stop(self) -> None: ...


class Service(Protocol):
    """Something that runs beside the roles: a listener."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(slots=True)
class Left:
    """What a drain that gave up left behind: per group, the records not yet passed."""

    counts: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    """Of the topics that were looked at, the ends of their partitions together."""


class Supervisor:
    """Starts the runners and services, waits, and stops them in good order. prompt: some of them answer others, who wait for it."""

    def __init__(self, event_log: Log, runners: Sequence[Role], services: Sequence[Service] = (), *, prompt: bool = False) -> None:
        self._log = event_log
        self._runners = runners
        self._services = services
        self._prompt = prompt
        self._stop = Stop()
        self._fault: BaseException | None = None

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises what a role died of."""
        with on_signals(self._stop):
            self._start()
            try:
                while not self._stop.wait(0.2) and self._fault is None:
                    pass
            finally:
                self._finish()
        self._raise()

    def drain(self, patience: float, progress: Callable[[int], None]) -> Left | None:
        """Until every group of these roles stands at its topics' end: None; or, when for `patience` seconds nothing but waiting
        things is left (retries that are not due, roles that hold), what is left. progress is called with the records still to pass."""
        with on_signals(self._stop):
            self._start()
            try:
                return self._watch(patience, progress)
            finally:
                self._finish()

    def _watch(self, patience: float, progress: Callable[[int], None]) -> Left | None:
        waited, looked, before, pause = 0.0, time.monotonic(), -1, _LOOK_EVERY
        ends: dict[str, int] = {}
        while not self._stop.is_set() and self._fault is None:
            left = self._left()
            total = sum(left.counts.values())
            # A delivery that goes round (a handler's word is settled, and becomes a retry) may have passed behind our back. It has if
            # anything was appended since the last look.
            if total == 0 and left.ends == ends:
                return None
            ends = left.ends
            busy = any(runner.busy for runner in self._runners)
            now = time.monotonic()
            # Time at work does not count as waiting. That a retry is tried in vain does not end the wait either, or one that comes
            # every second would keep us for ever.
            if total != before:
                waited = 0.0
            elif not busy:
                waited += now - looked
            if total != before or busy:
                progress(total)
            pause = min(pause * 1.5, _LOOK_EVERY * 10) if total > _NEAR else _LOOK_EVERY
            at_end_now = total == 0 != before  # then once more, at once
            looked, before = now, total
            if waited > patience:
                return left
            self._stop.wait(0.0 if at_end_now else pause)
        self._raise()
        return self._left()

    def _left(self) -> Left:
        """Records between where each group stands and its topics' ends. The ends are looked at in the order of the flow, so what a
        stage passes on while we look is seen behind it."""
        left = Left()
        found = left.counts
        for runner in self._runners:
            try:
                standings = self._log.standings(runner.group, runner.topics)
                for topic in runner.topics:
                    extents = self._log.extents(topic)
                    left.ends[topic] = sum(extent.end for extent in extents)
                    for number, extent in enumerate(extents):
                        standing = standings.get((topic, number))  # type: ignore[call-overload]
                        behind = extent.end - (standing.offset if standing else extent.first)
                        if behind > 0:
                            found[runner.group] = found.get(runner.group, 0) + behind
            except LogError:
                found[runner.group] = found.get(runner.group, 0) + 1  # unknown while the log is away, but not nothing
        return left

    def _start(self) -> None:
        if self._prompt:
            sys.setswitchinterval(self._log.turns)
        collecting.settle()
        for service in self._services:
            service.start()
        self._threads = [threading.Thread(target=self._run_one, args=(runner,), name=runner.group) for runner in self._runners]
        for thread in self._threads:
            thread.start()

    def _run_one(self, runner: Role) -> None:
        try:
            runner.run()
        except BaseException as error:  # noqa: BLE001 - a role that dies takes the process down, with its reason
            self._fault = error
            self._stop.set()

    def _finish(self) -> None:
        if self._stop.signal:
            log.info("stopping on %s", self._stop.signal)
        for service in self._services:
            service.stop()
        for runner in self._runners:
            runner.stop()
        for thread in self._threads:
            thread.join()

    def _raise(self) -> None:
        if self._fault is not None:
            raise self._fault
