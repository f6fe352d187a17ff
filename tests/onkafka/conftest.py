"""Installations on a real broker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.acceptance.conftest import GONE, SAMPLE
from tests.acceptance.place import Letters, Place
from tests.broker.shared import bootstrap

MakePlace = Callable[..., Place]


@pytest.fixture(scope="session")
def address() -> str:
    """The address of the run's broker."""
    return bootstrap()


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> MakePlace:
    """Makes a Place on the run's broker, or on the one at `broker`; by default with the accounts of the sample and the gone person."""

    def place(broker: str | None = None, **how: Any) -> Place:
        return Place(tmp_path, f"kafka://{broker or request.getfixturevalue('address')}", **({"accounts": (SAMPLE, GONE)} | how))

    return place


@pytest.fixture
def letter() -> Letters:
    """Writes plain mails."""
    return Letters()


@pytest.fixture
def admin(address: str) -> AdminClient:
    """What an operator does with Kafka's own tools."""
    return AdminClient({"bootstrap.servers": address, "log_level": 0})
