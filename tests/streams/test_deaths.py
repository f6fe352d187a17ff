"""E4 in the runner: a record that kills its worker is found and set aside, and no other one is; on a real log and real processes."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from streams.log import Standing, TopicSpec
from streams.notes import Tries
from streams.record import Draft, Record, TopicPartition
from streams.sqlite import SqliteLog
from tests.contract.waiting import PATIENCE, until
from tests.streams.test_runner import log, out

__all__ = ["log"]

SET_ASIDE = "crashed deadly"


class Worker:
    """One life of `tests.streams.dying`."""

    def __init__(self, log: SqliteLog, *topics: str) -> None:
        command = [sys.executable, "-m", "tests.streams.dying", str(log._shared.path), *topics]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def lives(self, done: Callable[[], bool]) -> bool:
        """Waits for its death (False), or until all is done; then it stops in good order."""
        until(lambda: self.process.poll() is not None or done(), lambda: self._wait(0.05), "a death, or the end")
        if self.process.poll() is None:
            self.stop()
            return True
        assert self.process.returncode == -signal.SIGKILL
        self.process.communicate()
        return False

    def stop(self) -> None:
        """Stops it in good order."""
        self.process.communicate("\n", timeout=PATIENCE)
        assert self.process.returncode == 0

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)


def deaths(log: SqliteLog, done: Callable[[], bool], *topics: str) -> int:
    """How often a worker dies until all is done, if each is followed by another."""
    for count in range(10):
        if Worker(log, *topics).lives(done):
            return count
    raise AssertionError("it goes on dying")


def fill(log: SqliteLog, topic: str, values: Sequence[str], partition: int = 0) -> None:
    log.append([Draft(topic, value.encode(), value.encode(), partition=partition) for value in values])


@pytest.mark.parametrize(("place", "costs"), [(0, 4), (20, 4), (90, 5)])
def test_a_deadly_record_costs_four_deaths_or_five_where_many_are_before_it(log: SqliteLog, place: int, costs: int) -> None:
    values = [f"v{n}" for n in range(120)]
    values[place] = "deadly"
    fill(log, "in", values)
    assert deaths(log, lambda: len(out(log)) >= 120, "in") <= costs
    assert sorted(out(log)) == sorted(SET_ASIDE if value == "deadly" else value for value in values)


def test_two_deadly_records_are_both_set_aside_and_nothing_else_is(log: SqliteLog) -> None:
    values = [f"v{n}" for n in range(60)]
    values[10] = values[11] = "deadly"
    fill(log, "in", values)
    fill(log, "in", ["other"], partition=1)
    assert deaths(log, lambda: len(out(log)) >= 61, "in") <= 8
    assert sorted(out(log)) == sorted([*(value for value in values if value != "deadly"), SET_ASIDE, SET_ASIDE, "other"])


def test_a_worker_that_gave_its_partitions_up_in_good_order_makes_no_death_be_forgotten(log: SqliteLog) -> None:
    """Else two workers that die in turn, each giving partitions up to the other as it comes, would never find what kills them."""
    fill(log, "in", ["hold", "deadly"])
    at = TopicPartition("in", 0)
    with_note = log.consumer("group of in", ["in"])
    until(lambda: bool(with_note.assigned), lambda: with_note.poll(1, 0.1), "the partitions")
    with_note.note({at: "2+4"})
    with_note.close()
    holding = Worker(log, "in")
    assert holding.process.stdout
    for _ in range(3):
        holding.process.stdout.readline()
    holding.stop()
    assert log.standings("group of in", ["in"])[at] == Standing(0, "2+4")


def test_the_death_of_one_stage_is_not_laid_to_what_another_one_of_the_process_had_in_hand(log: SqliteLog) -> None:
    log.create([TopicSpec("slow", 4)])
    fill(log, "in", ["deadly"])
    fill(log, "slow", [f"slow {n}" for n in range(12)])
    assert deaths(log, lambda: len(out(log)) >= 13, "slow", "in") == 4
    assert sorted(out(log)) == sorted([SET_ASIDE, *(f"slow {n}" for n in range(12))])


def test_what_is_no_note_of_ours_counts_as_none() -> None:
    at = TopicPartition("in", 0)
    for text in ("", "0", "-1", "1+", "x", "1@2@3", "９", "2+8 ", "9" * 40):
        tries = Tries()
        tries.assigned({at: Standing(0, text)})
        assert not tries.wary, text


def test_killed_from_outside_at_random_moments_hardly_any_innocent_record_is_set_aside() -> None:
    """The notes alone, under workers that live for two batches of 500 at most: 100 kills, and the work goes on."""
    chance = random.Random(1)
    records = [Record("in", 0, offset, 0, None, b"") for offset in range(30_000)]
    kills = condemned = 0
    position, note = 0, ""
    while position < len(records):
        position, note, set_aside = _life(records, position, note, steps=chance.randrange(1, 1000))
        kills += 1
        condemned += set_aside
    assert kills > 50
    assert condemned <= kills * 0.01


_WRITE = 3
"""What a write costs, in records."""


def _life(records: Sequence[Record], position: int, note: str, steps: int) -> tuple[int, str, int]:
    """A worker that is killed after so many steps (a step a record, and some a write): what it leaves behind, and how many records it
    set aside."""
    tries, set_aside = Tries(), 0
    at = TopicPartition("in", 0)
    tries.assigned({at: Standing(position, note)})
    rest: Sequence[Record] = ()
    while position < len(records):
        portion, rest = tries.portion(rest or records[position : position + 500])
        if tries.condemned(portion):
            set_aside += 1
        elif beginning := tries.beginning(portion):
            if (steps := steps - _WRITE) <= 0:
                break
            note = beginning[at]
        if (steps := steps - len(portion) - _WRITE) <= 0:
            break
        position, note = portion[-1].offset + 1, tries.done([at])[at]
    return position, note, set_aside
