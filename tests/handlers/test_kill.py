"""kill -9 at any moment: what a handler does on mail.db happens once, and is told the same each time."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.handlers.sql import ask, done

COUNT = 200
KILLS = 6

pytestmark = pytest.mark.postgres


def start(url: str, folder: Path) -> "subprocess.Popen[str]":
    """A worker process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.handlers.worker", url, str(folder), str(COUNT)], stdout=subprocess.PIPE, text=True
    )


def test_after_many_kills_each_effect_is_there_once(database: str, tmp_path: Path) -> None:
    """Workers are killed at random places of the same mails; the last one runs through, and two of them at a time at the end."""
    ask(database, "CREATE TABLE done (what text); CREATE TABLE total (n int); INSERT INTO total VALUES (0)")
    chance = random.Random(20260101)
    for kill in range(KILLS):
        worker = start(database, tmp_path)
        assert worker.stdout
        for _ in range(chance.randrange(1, COUNT * (kill + 1) // KILLS)):
            worker.stdout.readline()
        worker.kill()
        worker.wait()
        worker.stdout.close()
    last = [start(database, tmp_path) for _ in range(2)]
    said = [worker.communicate()[0].splitlines() for worker in last]
    assert [worker.returncode for worker in last] == [0, 0]
    assert said[0] == said[1]
    assert len(set(said[0])) == COUNT
    assert done(database) == sorted(f"no. {n}" for n in range(COUNT))
    assert ask(database, "SELECT n FROM total") == [(COUNT,)]
