"""Processes side by side come to what one alone comes to, and say what kept them from it."""

import logging
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pytest

from postroom.commands.reading import scanning
from postroom.crew import Crew, Tick
from postroom.reading.fsck import fsck
from postroom.reading.selectors import Selectors
from postroom.replay.preview import EXAMPLES, Preview
from postroom.replay.trial import Trial, preview
from postroom.settings import SettingsError
from postroom.site import Site, now_ms
from streams.faults import Hold
from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place
from tests.replay.test_preview import INBOX


@dataclass(frozen=True)
class Squares:
    """A worker that knows what can go wrong."""

    word: str

    def __call__(self, task: int, tick: Tick) -> int:
        if task == 13:
            raise Hold("luck", self.word, 7.0)
        if task == 666:
            os._exit(9)
        if task == 42:
            raise OddError(1, 2)
        if task == 77:
            logging.getLogger("postroom").warning("task \x1b%d", task)
        tick(1)
        return task * task

    def close(self) -> None:
        """Nothing is open."""


class OddError(Exception):
    """Cannot cross over to another process."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")


@dataclass(frozen=True)
class Make:
    """Makes such a worker."""

    word: str

    def __call__(self) -> Squares:
        return Squares(self.word)


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_are_worked_on_by_all_and_progress_is_told(count: int) -> None:
    ticks: list[int] = []
    with Crew[int, int](count, Make("bad")) as crew:
        assert sorted(crew.spread(range(8), ticks.append)) == [number * number for number in range(8)]
        assert crew.each(list(range(count))) == [number * number for number in range(count)]
    assert sum(ticks) == 8


@pytest.mark.parametrize(
    ("task", "error", "word"),
    [(13, Hold, "luck: bad"), (42, RuntimeError, "OddError: odd"), (666, RuntimeError, r"died \(exit 9\); nothing was written")],
)
def test_what_a_worker_raises_is_raised_where_it_is_waited_for(task: int, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word), Crew[int, int](2, Make("bad")) as crew:
        list(crew.spread([1, task, 2]))


def test_what_a_worker_logs_is_a_line_of_safe_text(capfd: pytest.CaptureFixture[str]) -> None:
    with Crew[int, int](2, Make("bad")) as crew:
        assert list(crew.spread([77])) == [5929]
    assert capfd.readouterr().err == "WARNING postroom: task \\x1b77\n"


def unmade() -> Squares:
    """Makes none."""
    raise Hold("luck", "none")


def test_a_worker_that_cannot_be_made_says_why_also_where_it_has_ended_before_it_is_given_anything() -> None:
    with Crew[int, int](2, unmade) as crew:
        for hand in crew._hands:
            hand._process.join()
        with pytest.raises(Hold, match="luck: none"):
            crew.each([1, 2])


def judged(place: Place, processes: int, **how: object) -> tuple[Preview, int, list[tuple[int, int]], int]:
    """A preview by so many processes: what it found, how many outcomes were selected, what it said before, and the progress."""
    counted: list[tuple[int, int]] = []
    done: list[int] = []

    def on_counted(mails: int, deliveries: int) -> Callable[[int], None]:
        counted.append((mails, deliveries))
        return done.append

    trial = Trial(**({"judge": None, "selectors": Selectors(), "now_ms": now_ms(), "start": "bounce-filter", "as_of_now": False} | how))  # type: ignore[arg-type]
    with closing(Site.at(place.folder / "postroom.toml")) as site:
        found, deliveries = preview(site, trial, None, on_counted, processes)
    return found, deliveries, counted, sum(done)


def test_a_preview_by_several_processes_is_that_of_one(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX}, sections={"log.topics": {"partitions": 4}})
    place.imported(
        [letter(f"{n}@foo.com", fields="Precedence: bulk\n" if n % 3 == 0 else "") for n in range(20)]
        + [letter("x@foo.com, y@foo.com, 1@nowhere.example") for _ in range(5)]
    )
    place.drain()
    (place.folder / "other.toml").write_text(
        (place.folder / "postroom.toml").read_text() + "[bounce_filter]\nrules = { precedence = false }\n"
    )
    other = place.folder / "other.toml"
    alone, *rest = judged(place, 1, judge=other)
    assert (alone.mails, alone.differences) == (25, 7)
    assert judged(place, 2, judge=other) == (alone, *rest)
    assert rest[1:] == [[(25, rest[0])], 25]
    assert all(0 < len(examples) <= EXAMPLES for examples in alone.examples.values())


def test_the_accounts_by_several_processes_are_those_of_one(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX}, sections={"log.topics": {"partitions": 4}})
    place.imported([letter("x@foo.com, y@foo.com, 1@nowhere.example") for _ in range(10)])
    place.drain()
    alone = place.fsck()
    settings = place.folder / "postroom.toml"
    with closing(Site.at(settings)) as site:
        found = fsck(site.log, site.topics, site.handler_names, opener=partial(scanning, settings), processes=2)
    assert found.clean
    assert found.counts == {name: alone[name] for name in found.counts}
    assert found.counts["ended"] == 10


@pytest.mark.sqlite_only
def test_settings_that_are_wrong_are_said_by_one(make: MakePlace) -> None:
    place = make(handlers={"inbox": INBOX})
    place.run("topics", "--create")
    with pytest.raises(SettingsError, match=r"other\.toml"):
        judged(place, 2, judge=place.folder / "other.toml")
