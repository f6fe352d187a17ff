"""Retention on the embedded log, as the program enforces it; a broker does so by itself."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from postroom.retention import Trimmer, enforced
from postroom.site import Site
from streams.sqlite import SqliteLog
from tests.acceptance.place import Letters, Place
from tests.reading.story import Story
from topology.records import Topics

HANDLER = {"use": "maildir", "path": "bugs/", "domains": ["bugs.example"], "allow_unknown_senders": True}


def age(path: Path, seconds: int) -> None:
    """Makes all that stands in the log older."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE batches SET time = time - ?", (seconds * 1000,))


@contextmanager
def site(folder: Path, text: str) -> Iterator[Site]:
    """An installation with these settings."""
    (folder / "settings.toml").write_text(text)
    made = Site.at(folder / "settings.toml")
    yield made
    made.close()


def test_what_is_looked_up_for_longer_is_kept_for_longer(tmp_path: Path) -> None:
    with site(
        tmp_path, '[log]\ndedupe_window = "2d"\n[log.topics]\nretention = "1h"\n[handlers.a]\nuse="python"\npython="a:b"\ndomains=["a.org"]'
    ) as made:
        kept = enforced(made)
        assert (kept["mail.raw"], kept["mail.outcomes"], kept["mail.routed.a"]) == (3600, 3600, 3600)
        assert (kept["mail.screened"], kept["mail.replies"]) == (2 * 86400, 86400)


@pytest.mark.parametrize(
    "text", ["", '[log.topics]\nretention = "off"', '[log]\nurl = "kafka://localhost:9"\n[log.topics]\nretention = "1h"']
)
def test_without_a_retention_or_on_kafka_nothing_is_enforced(tmp_path: Path, text: str) -> None:
    with site(tmp_path, text) as made:
        assert enforced(made) == {}


def test_a_log_that_runs_drops_what_is_old_and_its_accounts_add_up(tmp_path: Path, letter: Letters) -> None:
    sections: dict[str, dict[str, Any]] = {"log": {"dedupe_window": "30m"}, "log.topics": {"retention": "1h", "partitions": 2}}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"bugs": HANDLER}, sections=sections)
    place.imported([letter("1@bugs.example") for _ in range(20)], "--sender", "a@x.org")
    place.drain()
    late = place.mail(letter("2@bugs.example"), "--sender", "a@x.org")
    age(tmp_path / "postroom.db", 7200)
    new = place.mail(letter("1@bugs.example"), "--sender", "a@x.org")
    place.drain()  # drops what was passed before; one had not been, and goes later
    place.run("trim")
    found = place.fsck()
    assert (found["lost"], found["doubled"], found["unknown"], found["raw"]) == (0, 0, 0, 22)
    assert found["beyond_retention"] == 21
    assert {row["mail_id"] for row in place.outcomes()} == {late, new}
    assert len(place.maildir("bugs")) == 22


def test_the_trimmer_goes_on_when_the_log_says_no_and_stops_when_asked(story: Story) -> None:
    story.handled(1)
    story.all_passed()
    story.later(3_600_000)
    dropped = Event()

    class Stubborn(SqliteLog):
        """Is away the first time."""

        calls = 0

        def trim(self, retention: Any) -> Iterator[tuple[str, int]]:
            from streams.errors import Transient

            Stubborn.calls += 1
            if Stubborn.calls == 1:
                raise Transient("busy")
            for one in super().trim(retention):
                yield one
                dropped.set()

    log = Stubborn(story.path, clock=lambda: story.now)
    trimmer = Trimmer(log, {Topics("mail").raw: 60.0}, every=0.01)
    trimmer.start()
    assert dropped.wait(10)
    trimmer.stop()
    log.close()
    assert [extent.first for extent in story.log.extents("mail.raw")].count(1) == 1
