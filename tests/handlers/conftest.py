"""Fixtures of the handlers' tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.batch import Handler
from handlers.database import Effects
from handlers.python import PythonHandler
from handlers.stage import HandlerStage
from tests.database import database, postgres
from tests.handlers.kit import stage_of
from tests.handlers.sql import ask

__all__ = ["database", "postgres"]


@pytest.fixture
def url(database: str) -> str:
    """A database with a table of the handlers' own."""
    ask(database, "CREATE TABLE done (what text)")
    return database


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., HandlerStage]]:
    """`stage(handle, limit=…, url=…)`: the stage of a Python function; `stage(handler)`: of a handler. Their threads end with the test."""
    handlers: list[Handler] = []

    def make(
        handle: Any, *, url: str | None = None, limit: float = 60.0, concurrency: int = 1, pause_after: int = 20, **options: Any
    ) -> HandlerStage:
        handler = handle
        if not isinstance(handle, Handler):
            effects = Effects(url, "test", limit) if url else None
            handler = PythonHandler("test", handle, limit=limit, concurrency=concurrency, effects=effects)
        handler.pause_after = pause_after
        handlers.append(handler)
        return stage_of(handler, tmp_path, **options)

    yield make
    for handler in handlers:
        handler.close()
