"""A worker that has much to remember of its partitions stays in its group while it builds that."""

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from streams.record import Draft, Record
from streams.runner import Runner
from streams.stage import Alive, Failure, Result, Stage, nothing
from tests.kafka.conftest import Opened

pytestmark = pytest.mark.kafka


class Slow(Stage):
    """Takes some seconds to remember a partition, and then passes everything over."""

    name = "slow"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun: list[int] = []
        self.seen = 0

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:
        self.begun += partitions
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            time.sleep(0.01)
            alive()

    def process(self, records: Sequence[Record]) -> list[Result]:
        self.seen += len(records)
        return [[] for _ in records]

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        return []


def test_building_what_is_remembered_may_take_longer_than_the_broker_waits_for_a_poll(
    opened: Opened, topic: Callable[..., str], group: str
) -> None:
    """Stock settings allow five minutes between two polls, here it is six seconds; a day of mails takes longer to read."""
    log = opened(max_poll_interval_ms="6000")
    name = topic(2)
    log.append([Draft(name, None, b"v", partition=number % 2) for number in range(20)])
    stage = Slow(4.5)
    runner = Runner(log, group, [name], stage)
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        until = time.monotonic() + 40
        while sum(standing.offset for standing in log.standings(group, [name]).values()) < 20 and time.monotonic() < until:
            time.sleep(0.2)
    finally:
        runner.stop()
        thread.join()
    assert sorted(stage.begun) == [0, 1]
    assert stage.seen == 20
