"""A hand-made log for each test, alone or as that of an installation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from postroom.cli import app
from tests.reading.story import Story

SETTINGS = """
[accounts]
file = "accounts.toml"
[handlers.bugs]
use = "maildir"
path = "bugs/"
domains = ["bugs.example.org"]
[handlers.help]
use = "maildir"
path = "help/"
domains = ["help.example.org"]
"""

Postroom = Callable[..., Result]
"""Runs the command line on the story's installation: arguments as on a terminal, the result with exit_code, stdout and stderr."""


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An empty log with the topics of two handlers."""
    made = Story(tmp_path)
    yield made
    made.log.close()


@pytest.fixture
def postroom(story: Story) -> Postroom:
    """The command line, with settings beside the story's log."""
    folder = story.path.parent
    (folder / "postroom.toml").write_text(SETTINGS)
    (folder / "accounts.toml").write_text("")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["--config", str(folder / "postroom.toml"), *arguments])

    return run
