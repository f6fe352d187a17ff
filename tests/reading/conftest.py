"""A hand-made log for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reading.story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An empty log with the topics of two handlers."""
    made = Story(tmp_path)
    yield made
    made.log.close()
