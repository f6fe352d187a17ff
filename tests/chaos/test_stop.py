"""Processes that are asked to stop, or frozen, at random moments, while others work on."""

import fcntl
import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.books import balanced
from tests.chaos.crew import Crew, MailServer, until
from tests.chaos.town import Letter, Town, found, mbox
from tests.chaos.watch import Watch

SESSION = 6.0
"""Seconds that a frozen worker keeps its partitions (`SqliteLog`)."""


def test_asked_to_stop_at_random_moments_they_end_with_0_and_call_nobody_twice(tmp_path: Path, chance: random.Random) -> None:
    print(_ask_to_stop(tmp_path, chance, mails=300, stops=3))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_asked_to_stop_fifty_times(tmp_path: Path, chance: random.Random, capsys: pytest.CaptureFixture[str]) -> None:
    told = _ask_to_stop(tmp_path, chance, mails=8000, stops=50)
    with capsys.disabled():
        print(f"\n{told}")


def _ask_to_stop(folder: Path, chance: random.Random, mails: int, stops: int) -> str:
    """Two or three workers of all roles, of which one after the other is stopped by SIGTERM and started again."""
    place, town = found(folder), Town(chance)
    handed_over, imported = town.letters(mails // 5), town.letters(mails - mails // 5)
    size = -(-len(imported) // stops)
    boxes = [str(mbox(folder / f"{at}.mbox", imported[at : at + size])) for at in range(0, len(imported), size)]
    slowest = 0.0
    place.run("topics", "--create")
    with Crew(place) as crew, closing(Watch(place)) as watch:
        workers = ["one", "two", "three"]
        for name in workers:
            crew.start(name, "run")
        server = MailServer(handed_over, [crew.socket(name) for name in workers], chance)
        server.start()
        for box in boxes:
            victim = chance.choice(workers)
            until(lambda victim=victim: crew.listens(victim), "the worker to be at work")  # type: ignore[misc]
            place.run("import", box)
            time.sleep(chance.uniform(0, 1))
            crew.ask_to_stop(victim)
            assert crew.ended(victim) == 0, crew.stderr(victim).read_text()
            ended, behind = time.monotonic(), watch.behind(watch.served_by([]))
            until(lambda behind=behind: watch.have_moved(behind), "the others to go on", patience=60)  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - ended)
            crew.start(victim, "run")
        server.finish()
        for name in workers:
            until(lambda name=name: crew.listens(name), "the worker to be at work")  # type: ignore[misc]
        crew.stop_all()
    place.drain()
    books = balanced(place, handed_over + imported)
    assert books.crashed == 0
    _nobody_was_called_twice(place.folder, handed_over + imported, books.again)
    return f"{stops} stops; others went on after {slowest:.1f} s at the latest; {books}"


def _nobody_was_called_twice(folder: Path, letters: list[Letter], again: int) -> None:
    """But those who asked for it, once each."""
    later = len(list((folder / "later").iterdir()))
    assert later == sum(letter.expect == (("handled", None),) and letter.recipients[0].startswith("later-") for letter in letters)
    assert again == later
    assert Counter((folder / "calls").read_text().split()).most_common(1)[0][1] <= 2


@pytest.mark.timeout(600)
def test_frozen_past_its_session_a_worker_is_fenced_and_all_goes_on(tmp_path: Path, chance: random.Random) -> None:
    print(_freeze(tmp_path, chance, mails=300, times=1))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_frozen_twenty_times(tmp_path: Path, chance: random.Random, capsys: pytest.CaptureFixture[str]) -> None:
    told = _freeze(tmp_path, chance, mails=6000, times=20)
    with capsys.disabled():
        print(f"\n{told}")


def _freeze(folder: Path, chance: random.Random, mails: int, times: int) -> str:
    """Three workers of all roles; one is frozen in the midst of its work until others have taken over all that it had."""
    place, town = found(folder), Town(chance)
    letters = town.letters(mails)
    size = -(-mails // times)
    boxes = [str(mbox(folder / f"{at}.mbox", letters[at : at + size])) for at in range(0, mails, size)]
    slowest, held = 0.0, 0
    place.run("topics", "--create")
    with Crew(place) as crew, closing(Watch(place)) as watch:
        workers = ["one", "two", "three"]
        for name in workers:
            crew.start(name, "run")
        for box in boxes:
            victim = chance.choice(workers)
            until(lambda victim=victim: crew.listens(victim), "the worker to be at work")  # type: ignore[misc]
            importing = crew.start("import", "import", box)
            held += _freeze_one(crew, victim, folder, chance)
            frozen, behind = time.monotonic(), watch.behind(watch.served_by([]))
            until(lambda behind=behind: watch.have_moved(behind), "the others to go on", patience=60)  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - frozen)
            time.sleep(max(0.0, frozen + SESSION + 1 - time.monotonic()))
            crew.running[victim].send_signal(signal.SIGCONT)
            assert importing.wait(240) == 0
        crew.stop_all()
    place.drain()
    books = balanced(place, letters)
    assert books.crashed == 0
    return f"{times} times frozen, {held} times with the lock in hand; others went on after {slowest:.1f} s at the latest; {books}"


def _freeze_one(crew: Crew, name: str, folder: Path, chance: random.Random) -> int:
    """SIGSTOP at a moment at which it does not hold the lock file (docs/known-issues.md); how often it did."""
    for held in range(100):
        time.sleep(chance.uniform(0, 1))
        crew.running[name].send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, crew.running[name].pid, os.WSTOPPED | os.WNOWAIT)
        if _lock_goes_round(folder / "postroom.db.lock"):
            return held
        crew.running[name].send_signal(signal.SIGCONT)
    raise AssertionError("it holds the lock all the time")


def _lock_goes_round(path: Path) -> bool:
    """Whether those who are not frozen pass the lock on within some seconds."""
    with path.open("rb+") as file:
        for _ in range(300):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            else:
                return True
    return False
