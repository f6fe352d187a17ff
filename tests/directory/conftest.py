"""Fixtures of the directory's tests, on a real PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postroom.directory.postgres import PostgresDirectory
from tests.database import database, postgres

__all__ = ["database", "postgres"]

Open = Callable[..., PostgresDirectory]


@pytest.fixture
def opened(database: str) -> Iterator[Open]:
    """`opened(timeout=…, query=…)`: a directory on an empty database of the test's own (`url=…` for another way there)."""
    made: list[PostgresDirectory] = []

    def directory(url: str = database, **settings: Any) -> PostgresDirectory:
        made.append(PostgresDirectory(url, **settings))
        return made[-1]

    yield directory
    for one in made:
        one.close()
