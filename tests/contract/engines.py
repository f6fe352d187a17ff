"""The engines that the suite runs on.

To enter one (Kafka, say): write a class with the members of `Engine`, a function that makes one for a test, and add both ways in below:
the function to `ENGINES`, and how a child process opens the same log to `OPENERS`. A missing broker skips in the function, and fails
where CI=true. What an engine cannot do is said by a member (`repeats`, `largest`), and the test that asks for it is a strict xfail.
"""

import contextlib
import fcntl
import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from streams.kafka import KafkaLog
from streams.log import Log
from streams.sqlite import SqliteLog
from streams.sqlite.schema import lock_path
from tests.broker.shared import bootstrap


class Engine(Protocol):
    """One log, which may be opened many times, in this process and in others. Topics and groups get fresh names from the fixtures, so
    a log that outlives the test (a broker) does no harm."""

    name: str
    address: str
    """What `open_address` needs in another process: the engine's name, a colon, and whatever the engine wants."""
    session: float
    """Seconds after which a frozen member loses its partitions."""
    repeats: bool
    """Whether an append knows a unique id again. Where not, `Appended.repeat` is None."""
    largest: int | None
    """Bytes that a value may have; one of twice the size is TooLarge. None: no such limit."""
    kills: int
    """How often the crash test kills its worker."""

    def open(self) -> Log:
        """The log. The fixture closes it."""

    def quiet(self) -> AbstractContextManager[None]:
        """While it is held, no process is in the middle of a write that would hold up all others if it were frozen there."""


class SqliteEngine:
    """A file of its own for each test."""

    name = "sqlite"
    repeats = True
    largest: int | None = 4 << 20
    kills = 15

    def __init__(self, path: Path, session: float = 1.0) -> None:
        self.path = path
        self.session = session
        self.address = f"sqlite:{session}:{path}"

    def open(self) -> SqliteLog:
        """The file; it is created the first time."""
        return SqliteLog(self.path, session=self.session, largest=self.largest or 0)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """SQLite's write lock goes with the process, so a worker that is frozen inside a transaction holds up all writers until it
        goes on or is killed. Holding the lock file keeps all out of transactions."""
        with lock_path(self.path).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _sqlite(folder: Path) -> AbstractContextManager[Engine]:
    return contextlib.nullcontext(SqliteEngine(folder / "log.db"))


class KafkaEngine:
    """A real broker, which all tests of the run share."""

    name = "kafka"
    session = 6.0
    repeats = False
    largest: int | None = 1_000_000
    kills = 5

    def __init__(self, bootstrap: str, slot: str) -> None:
        self.address = f"kafka:{slot}:{bootstrap}"
        self._bootstrap = bootstrap
        self._slot = slot
        self._opened = itertools.count()

    def open(self) -> KafkaLog:
        """The cluster; each opening is a worker with a slot of its own."""
        slot = f"{self._slot}-{os.getpid()}-{next(self._opened)}"
        return KafkaLog(
            self._bootstrap, slot=slot, config={"session.timeout.ms": str(int(self.session * 1000)), "heartbeat.interval.ms": "300"}
        )

    def quiet(self) -> AbstractContextManager[None]:
        """A frozen process holds up nobody: the broker ends its transaction after a while."""
        return contextlib.nullcontext()


def _kafka(_folder: Path) -> AbstractContextManager[Engine]:
    return contextlib.nullcontext(KafkaEngine(bootstrap(), uuid.uuid4().hex))


def _open_kafka(rest: str) -> KafkaLog:
    slot, _, address = rest.partition(":")
    return KafkaEngine(address, slot).open()


ENGINES: dict[str, tuple[Callable[[Path], AbstractContextManager[Engine]], tuple[pytest.MarkDecorator, ...]]] = {
    "sqlite": (_sqlite, ()),
    "kafka": (_kafka, (pytest.mark.kafka,)),
}
"""By name: what makes the engine for one test in a folder of the test's own, and the marks that its tests bear."""

OPENERS: dict[str, Callable[[str], Log]] = {
    "sqlite": lambda rest: SqliteEngine(Path(rest.partition(":")[2]), float(rest.partition(":")[0])).open(),
    "kafka": _open_kafka,
}
"""By name: how a child process opens the log that the rest of the address names."""


def open_address(address: str) -> Log:
    """Opens an engine's log by its address, in whatever process."""
    name, _, rest = address.partition(":")
    return OPENERS[name](rest)
