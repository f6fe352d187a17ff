"""What the runner remembers, and what it must not, when the log or a part was away in the midst of its work."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.errors import Full, Transient
from streams.faults import Hold
from streams.record import Record
from streams.retries import RetryPlan
from streams.runner import Options, Runner
from streams.sqlite import SqliteLog, membership, writer
from streams.sqlite.append import store
from streams.stage import Again, Result, Stage
from tests.contract.waiting import until
from tests.streams.test_runner import PLAN, Copy, append, log, out

__all__ = ["log"]


@contextmanager
def running(log: SqliteLog, stage: Stage, plan: RetryPlan | None = None) -> Iterator[Runner]:
    """A runner at work, stopped in good order at the end."""
    runner = Runner(log, "group", ["in"], stage, plan, Options(batch=100, backoff=0.05))
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(runner.run)
        try:
            yield runner
        finally:
            runner.stop()
            ended.result(20)


def wait(done: Callable[[], bool], what: str) -> None:
    until(done, lambda: threading.Event().wait(0.02), what)


class FullDisk:
    """Makes the disk full for the next so many transactions with records in them; the transaction is rolled back for real."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self._store = store
        monkeypatch.setattr(writer, "store", self._stumble)

    def _stumble(self, *args: Any) -> Any:
        if self.left:
            self.left -= 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._store(*args)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


def test_a_key_whose_retry_has_ended_is_free_also_after_a_hold(log: SqliteLog) -> None:
    """A runner that goes back to where the group stands must not take for waiting what has ended since it got the partition."""
    said: list[bytes] = []

    def word(record: Record) -> Result | None:
        said.append(record.value)
        if record.value == b"first" and said.count(b"first") == 1:
            return Again("not yet")
        if record.value == b"held" and said.count(b"held") == 1:
            raise Hold("database", "no connection", probe_after=0.02)
        return None

    with running(log, Copy(word), PLAN):
        for value in ("first", "held", "second"):
            append(log, value, key="same")
            wait(lambda value=value: value in out(log), value)  # type: ignore[misc]
    assert [record.value for record in log.read("again.1")] == [b"first"]


def test_a_delivery_that_waits_for_its_retry_gets_it_also_when_the_disk_was_full_meanwhile(log: SqliteLog, full: FullDisk) -> None:
    slow = RetryPlan(PLAN.topics, (0.5, 0.5, 0.5), give_up=60)
    seen: list[bytes] = []

    def word(record: Record) -> Result | None:
        seen.append(record.value)
        if record.value == b"other" and seen.count(b"other") == 1:
            full.left = 1  # it is our commit that fails
        return Again("not yet") if record.value == b"first" and seen.count(b"first") == 1 else None

    with running(log, Copy(word), slow):
        append(log, "first", key="same")
        wait(lambda: any(log.read("again.1")), "the retry")
        append(log, "other")
        wait(lambda: len(out(log)) == 2, "both")
    assert sorted(out(log)) == ["first", "other"]
    assert seen.count(b"other") == 2


def test_while_the_runner_cannot_go_back_to_where_the_group_stands_nothing_is_run(
    log: SqliteLog, full: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has forgotten who waits for whom, so whatever it ran now might be out of order."""
    held = membership.held
    refused: list[list[bytes]] = []
    calls: list[bytes] = []

    def stumbling(*args: Any) -> Any:
        if len(refused) < 3:
            refused.append(list(calls))
            raise Transient("locked")
        return held(*args)

    def word(record: Record) -> Result | None:
        calls.append(record.value)
        full.left = len(calls) == 1
        return None

    monkeypatch.setattr(membership, "held", stumbling)
    with running(log, Copy(word)):
        append(log, "one")
        wait(lambda: len(refused) == 3, "tries to go back")
        append(log, "two")
        wait(lambda: len(out(log)) == 2, "both")
    assert refused == [[b"one"]] * 3
    assert sorted(calls) == [b"one", b"one", b"two"]


def test_a_stop_while_the_log_cannot_be_written_is_no_fault(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise Full("no room")

    with running(log, Copy()) as runner:
        append(log, "one")
        wait(lambda: out(log) == ["one"], "work")
        monkeypatch.setattr(membership, "leave", refuse)
        runner.stop()


def test_partitions_that_others_took_while_nothing_was_in_hand_are_worked_on_again_when_they_are_free(
    log: SqliteLog, tmp_path: Path
) -> None:
    """As after a freeze longer than the session between two mails: there is no commit that could fail and tell of it."""

    def ours() -> bool:
        return all(owner is not None for (owner,) in other.execute("SELECT owner FROM standings"))

    with closing(sqlite3.connect(tmp_path / "log.db")) as other, running(log, Copy()):
        wait(ours, "the partitions")
        with other:
            other.execute("UPDATE standings SET owner = NULL, epoch = epoch + 1")
            other.execute("UPDATE groups SET version = version + 1")
        values = [f"v{number}" for number in range(40)]
        append(log, *values)
        wait(lambda: len(out(log)) == 40, "all of them")
    assert sorted(out(log)) == sorted(values)
