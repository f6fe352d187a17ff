"""Fixtures on the broker that the whole run shares."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from streams.kafka import KafkaLog
from streams.log import Consumer, TopicSpec
from tests.broker import shared

QUICK = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "300"}
"""The shortest session that a broker takes by stock settings."""


class Opened(Protocol):
    """Opens a log; see the fixture."""

    def __call__(self, slot: str | None = None, bootstrap: str | None = None, **config: str) -> KafkaLog: ...


@pytest.fixture(scope="session")
def address() -> str:
    """The address of the run's broker."""
    return shared.bootstrap()


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Opens logs, each with a slot of its own unless told one, on the run's broker unless told another; closed at the end. Settings
    of the client have underscores for dots."""
    with ExitStack() as stack:

        def again(slot: str | None = None, bootstrap: str | None = None, **config: str) -> KafkaLog:
            settings = QUICK | {name.replace("_", "."): value for name, value in config.items()}
            log = KafkaLog(bootstrap or request.getfixturevalue("address"), slot=slot or uuid.uuid4().hex, config=settings)
            stack.callback(log.close)
            return log

        yield again


@pytest.fixture
def log(opened: Opened) -> KafkaLog:
    """A log on the run's broker."""
    return opened()


@pytest.fixture
def topic(log: KafkaLog) -> Callable[..., str]:
    """Creates a topic and tells its name. Settings of the topic have underscores for dots."""

    def create(partitions: int = 1, **config: str) -> str:
        name = f"kafka.{uuid.uuid4().hex}"
        log.create([TopicSpec(name, partitions, config={key.replace("_", "."): value for key, value in config.items()})])
        return name

    return create


@pytest.fixture
def group() -> str:
    """A group that nobody has used."""
    return f"kafka.{uuid.uuid4().hex}"


@pytest.fixture
def closing() -> Iterator[Callable[[Consumer], Consumer]]:
    """Closes consumers at the end, before their log."""
    with ExitStack() as stack:

        def close(consumer: Consumer) -> Consumer:
            stack.callback(consumer.close)
            return consumer

        yield close
