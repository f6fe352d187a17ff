"""Fixtures of the contract suite: the engine, an open log, topics and groups with names of their own, child processes."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from streams.log import Consumer, Log, Rebalanced, TopicSpec
from streams.sqlite import SqliteLog
from tests.contract.children import Child
from tests.contract.engines import ENGINES, Engine


def _nothing(_partitions: frozenset[int]) -> None:
    pass


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, (_, marks) in ENGINES.items()])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each engine in turn."""
    make, _ = ENGINES[request.param]
    with make(tmp_path) as made:
        yield made


@pytest.fixture
def opened(engine: Engine) -> Iterator[Callable[[], Log]]:
    """Opens the log once more; closed at the end."""
    with ExitStack() as stack:

        def again() -> Log:
            log = engine.open()
            stack.callback(log.close)
            return log

        yield again


@pytest.fixture
def log(opened: Callable[[], Log]) -> Log:
    """The log, open."""
    return opened()


@pytest.fixture
def topic(log: Log) -> Callable[[int], str]:
    """Creates a topic of so many partitions and tells its name."""

    def create(partitions: int = 1) -> str:
        name = f"contract.{uuid.uuid4().hex}"
        log.create([TopicSpec(name, partitions)])
        return name

    return create


@pytest.fixture
def group() -> str:
    """A group that nobody has used."""
    return f"contract.{uuid.uuid4().hex}"


class Join:
    """Joins groups; what is still open at the end is closed before the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.stack = ExitStack()

    def __call__(
        self, group: str, *topics: str, log: Log | None = None, on_assigned: Rebalanced = _nothing, on_revoked: Rebalanced = _nothing
    ) -> Consumer:
        """A new member of the group. log: another than the fixture's."""
        consumer = (log or self._log).consumer(group, topics, on_assigned=on_assigned, on_revoked=on_revoked)
        self.stack.callback(consumer.close)
        return consumer


@pytest.fixture
def join(log: Log) -> Iterator[Join]:
    """Joins a group."""
    made = Join(log)
    with made.stack:
        yield made


@pytest.fixture
def child(engine: Engine) -> Iterator[Callable[..., Child]]:
    """Starts a program of children.py on the same log; killed at the end."""
    with ExitStack() as stack:

        def start(program: str, *arguments: str) -> Child:
            return stack.enter_context(Child(program, engine.address, *arguments))

        yield start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of `sqlite_log` is."""
    return tmp_path / "log.db"


@pytest.fixture
def sqlite_log(path: Path) -> Iterator[SqliteLog]:
    """A log on SQLite, for what that engine alone promises, with the topics a and b of two partitions each."""
    with closing(SqliteLog(path)) as made:
        made.create([TopicSpec("a", 2), TopicSpec("b", 2)])
        yield made
