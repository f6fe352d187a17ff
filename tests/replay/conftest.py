"""Replays are tested on whole installations, on every engine. The long forms run when they are asked for: `make chaos`."""

import pytest

from tests.acceptance.conftest import letter, log_url, make
from tests.acceptance.conftest import pytest_collection_modifyitems as leave_engines_out
from tests.chaos.conftest import chance
from tests.chaos.conftest import pytest_collection_modifyitems as leave_long_ones_out
from tests.database import database, postgres

__all__ = ["chance", "database", "letter", "log_url", "make", "postgres"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is about one engine alone, and what is long."""
    leave_engines_out(items)
    leave_long_ones_out(config, items)
