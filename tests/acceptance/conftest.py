"""The engines that the acceptance rows hold on, and what every such test needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.place import Letters, Place
from tests.broker.shared import bootstrap
from tests.database import database, postgres

__all__ = ["database", "postgres"]

SAMPLE = {"id": "sample", "name": "Sample Person", "addresses": ["test@canonical.com"]}
GONE = {"id": "gone", "name": "Gone Person", "addresses": ["gone@canonical.com"], "active": False}
MakePlace = Callable[..., Place]


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_url(request: pytest.FixtureRequest) -> str:
    """Where the log lives. A test that looks into the file itself, or is about what comes before the log, is marked `sqlite_only`."""
    if request.param == "kafka":
        return f"kafka://{bootstrap()}"
    return "sqlite:///postroom.db"


@pytest.fixture
def make(tmp_path: Path, log_url: str) -> MakePlace:
    """Makes a Place; by default with the accounts of the sample and the gone person."""

    def place(**how: Any) -> Place:
        return Place(tmp_path, log_url, **({"accounts": (SAMPLE, GONE)} | how))

    return place


@pytest.fixture
def letter() -> Letters:
    """Writes plain mails."""
    return Letters()
