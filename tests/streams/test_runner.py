"""The runner's promises, on a real SQLite log: what a stage says is written once, whatever goes wrong on the way."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from streams.errors import TopicMissing
from streams.faults import Hold, Newer
from streams.log import TopicSpec
from streams.record import Draft, Record
from streams.retries import RetryPlan
from streams.runner import Options, Runner
from streams.sqlite import SqliteLog
from streams.stage import FOLLOWS, Again, Alive, Failure, Result, Stage, nothing

TOPICS = ("in", "out", "again.1", "again.2", "again.3")
PLAN = RetryPlan(("again.1", "again.2", "again.3"), (0.05, 0.1, 0.2), give_up=1.0)


class Copy(Stage):
    """Copies records from `in` to `out`; `word` may say something else of a record, or raise."""

    name = "copy"

    def __init__(self, word: Callable[[Record], Result | None] = lambda _record: None) -> None:
        self.word = word
        self.calls: list[bytes] = []
        self.batches: list[int] = []

    def process(self, records: Sequence[Record]) -> list[Result]:
        self.batches.append(len(records))
        results: list[Result] = []
        waiting: set[bytes | None] = set()
        for record in records:
            if record.key in waiting:
                results.append(FOLLOWS)
                continue
            self.calls.append(record.value)
            said = self.word(record)
            if isinstance(said, Again):
                waiting.add(record.key)
            results.append([Draft("out", record.key, record.value)] if said is None else said)
        return results

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        return [Draft("out", record.key, f"{failure.kind} {record.value.decode()}".encode())]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    opened = SqliteLog(tmp_path / "log.db")
    opened.create([TopicSpec(name, 4) for name in TOPICS])
    yield opened
    opened.close()


def append(log: SqliteLog, *values: str, key: str | None = None) -> None:
    log.append([Draft("in", (key or value).encode(), value.encode()) for value in values])


def out(log: SqliteLog) -> list[str]:
    return [record.value.decode() for record in log.read("out")]


def run_until(log: SqliteLog, stage: Stage, done: Callable[[], bool], plan: RetryPlan | None = None, batch: int = 100) -> Runner:
    """Runs a stage until `done`, then stops it in good order."""
    runner = Runner(log, "group", ["in"], stage, plan, Options(batch=batch, backoff=0.05))
    thread = threading.Thread(target=runner.run)
    thread.start()
    waited = threading.Event()
    for _ in range(600):
        if done() or not thread.is_alive():
            break
        waited.wait(0.02)
    runner.stop()
    thread.join(20)
    assert not thread.is_alive()
    return runner


def test_every_record_is_processed_once_and_a_second_run_finds_nothing(log: SqliteLog) -> None:
    values = [f"v{n}" for n in range(250)]
    append(log, *values)
    run_until(log, Copy(), lambda: len(out(log)) >= 250, batch=40)
    again = Copy()
    run_until(log, again, lambda: True)
    assert sorted(out(log)) == sorted(values)
    assert again.calls == []


def test_a_record_that_the_stage_raises_on_ends_as_its_failure_and_the_others_go_on(log: SqliteLog) -> None:
    def word(record: Record) -> Result | None:
        if record.value in (b"v7", b"v33"):
            raise RuntimeError("cannot")
        return None

    append(log, *(f"v{n}" for n in range(50)))
    run_until(log, Copy(word), lambda: len(out(log)) >= 50)
    assert sorted(out(log)) == sorted(["error v7", "error v33", *(f"v{n}" for n in range(50) if n not in (7, 33))])


def test_a_part_that_is_away_holds_the_role_and_nothing_is_written_until_it_is_back(log: SqliteLog) -> None:
    back = threading.Event()
    tries: list[int] = []

    def word(_record: Record) -> Result | None:
        if not back.is_set():
            tries.append(1)
            if len(tries) >= 3:
                back.set()
            raise Hold("database", "no connection", probe_after=0.02)
        return None

    append(log, *(f"v{n}" for n in range(10)))
    run_until(log, Copy(word), lambda: len(out(log)) >= 10)
    assert len(tries) >= 3
    assert sorted(out(log)) == sorted(f"v{n}" for n in range(10))


def test_what_was_done_before_a_part_went_away_is_committed_also_where_a_record_is_at_fault(log: SqliteLog) -> None:
    """The fault has the batch run again in parts, of which a later one holds; the parts before it are not run once more."""
    back = threading.Event()

    def word(record: Record) -> Result | None:
        if record.value == b"v9":
            raise RuntimeError("cannot")
        if record.value == b"v6" and stage.calls.count(b"v6") > 1 and not back.is_set():
            raise Hold("relay", "no connection", probe_after=0.02)
        return None

    stage = Copy(word)
    append(log, *(f"v{n}" for n in range(10)), key="one")
    run_until(log, stage, lambda: stage.calls.count(b"v6") > 3)
    assert out(log) == [f"v{n}" for n in range(5)]
    back.set()
    run_until(log, stage, lambda: len(out(log)) >= 10)
    assert out(log) == [*(f"v{n}" for n in range(9)), "error v9"]
    assert stage.calls.count(b"v0") == 2


def test_a_record_of_a_newer_version_stops_the_role_and_gets_no_outcome(log: SqliteLog) -> None:
    def word(_record: Record) -> Result | None:
        raise Newer("facts of version 9")

    append(log, "v1")
    runner = Runner(log, "group", ["in"], Copy(word))
    with pytest.raises(Newer):
        runner.run()
    assert out(log) == []


def test_a_missing_topic_stops_the_role_with_a_clear_word(log: SqliteLog) -> None:
    with pytest.raises(TopicMissing, match="nowhere"):
        Runner(log, "group", ["nowhere"], Copy()).run()


def test_a_delivery_that_asks_for_time_is_tried_again_and_later_ones_of_its_key_wait_behind_it(log: SqliteLog) -> None:
    tries: list[bytes] = []

    def word(record: Record) -> Result | None:
        tries.append(record.value)
        return Again("not yet") if record.value == b"first" and tries.count(b"first") < 3 else None

    append(log, "first", "second", "third", key="same")
    append(log, "other")
    run_until(log, Copy(word), lambda: len(out(log)) >= 4, PLAN)
    written = out(log)
    assert written.index("first") < written.index("second") < written.index("third")
    assert tries.count(b"first") == 3
    assert tries.count(b"second") == tries.count(b"third") == tries.count(b"other") == 1


def test_what_comes_later_of_a_waiting_key_follows_it_also_after_a_restart(log: SqliteLog) -> None:
    ready = threading.Event()

    def word(record: Record) -> Result | None:
        return Again("not yet") if record.value == b"first" and not ready.is_set() else None

    slow = RetryPlan(PLAN.topics, (0.6, 0.6, 0.6), give_up=60)
    append(log, "first", key="same")
    run_until(log, Copy(word), lambda: any(log.read("again.1")), slow)
    append(log, "second", key="same")
    late = Copy(word)
    ready.set()
    run_until(log, late, lambda: len(out(log)) >= 2, slow)
    assert out(log) == ["first", "second"]
    assert late.calls == [b"first", b"second"]


@pytest.mark.parametrize(("timeout", "kind"), [(False, "gave-up"), (True, "timeout")])
def test_after_give_up_the_delivery_has_failed(log: SqliteLog, timeout: bool, kind: str) -> None:
    append(log, "never")
    plan = RetryPlan(PLAN.topics, (0.02, 0.02, 0.02), give_up=0.1)
    run_until(log, Copy(lambda _record: Again("no", timeout=timeout)), lambda: bool(out(log)), plan)
    assert out(log) == [f"{kind} never"]


class Rebuilding(Copy):
    """A stage that has something to remember of each partition, and takes its time with it. steps: how often it looks at a record of the
    past of a partition; done: of which it has finished; known: of which it remembers anything."""

    def __init__(self, steps: int, meanwhile: Callable[[int, int], None] = lambda _partition, _step: None) -> None:
        super().__init__()
        self.steps = steps
        self.meanwhile = meanwhile
        self.begun: list[int] = []
        self.done: list[int] = []
        self.known: dict[int, int] = {}
        self.strange: list[Record] = []

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        for partition in partitions:
            self.begun.append(partition)
            self.known[partition] = 0
            for step in range(self.steps):
                self.meanwhile(partition, step)
                alive()
                self.known[partition] += 1
            self.done.append(partition)

    def revoked(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self.known.pop(partition, None)

    def process(self, records: Sequence[Record]) -> list[Result]:
        self.strange += [record for record in records if self.known.get(record.partition) != self.steps]
        return super().process(records)


def test_a_stop_ends_what_is_being_built_of_the_past(log: SqliteLog) -> None:
    append(log, "v")
    runner = Runner(log, "group", ["in"], Rebuilding(10**9, lambda _partition, step: runner.stop() if step == 50 else None))
    runner.run()
    assert out(log) == []
    run_until(log, Rebuilding(1), lambda: len(out(log)) >= 1)


def test_while_the_past_is_built_the_group_hears_from_us_and_partitions_may_go(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second member joins while the first builds; each partition is built whole by who then works on it, and what was already built by
    the first, and stays with it, is built once."""
    monkeypatch.setattr("streams.runner._SLICE", 0.0)
    values = [f"v{n}" for n in range(200)]
    append(log, *values)
    second = Rebuilding(3)
    others: list[threading.Thread] = []
    runners: list[Runner] = []

    def join(partition: int, step: int) -> None:
        if (partition, step) == (1, 5):
            runners.append(Runner(log, "group", ["in"], second))
            others.append(threading.Thread(target=runners[0].run))
            others[0].start()
        elif others and not second.calls:
            threading.Event().wait(0.01)

    first = Rebuilding(200, join)
    try:
        run_until(log, first, lambda: len(out(log)) >= len(values))
    finally:
        for runner, thread in zip(runners, others, strict=True):
            runner.stop()
            thread.join(20)
    assert sorted(out(log)) == sorted(values)
    assert first.calls
    assert second.calls
    assert not first.strange
    assert not second.strange
    assert len(first.done) == len(set(first.done)) < 4


CHILD = """
import os, signal, sys
from pathlib import Path
from streams.runner import Options, Runner
from streams.sqlite import SqliteLog
from tests.streams.test_runner import Copy

def word(record):
    if record.value == b"deadly":
        os.kill(os.getpid(), signal.SIGKILL)

Runner(SqliteLog(Path(sys.argv[1])), "group", ["in"], Copy(word), options=Options(batch=100)).run()
"""


def test_a_record_that_kills_the_process_each_time_is_set_aside_and_the_partition_goes_on(log: SqliteLog, tmp_path: Path) -> None:
    """E4: the first death takes the batch along, the second a small portion; then it goes one by one, and the deadly one is found."""
    values = [f"v{n}" for n in range(20)]
    append(log, *values[:10], "deadly", *values[10:], key="same")
    deaths = 0
    while len(out(log)) < 21 and deaths < 6:
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "log.db")])
        while child.poll() is None and len(out(log)) < 21:
            threading.Event().wait(0.05)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait()
            break
        assert child.returncode == -signal.SIGKILL
        deaths += 1
    os.sync()
    assert out(log) == [*values[:10], "crashed deadly", *values[10:]]
    assert deaths == 4
