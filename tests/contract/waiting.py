"""Waiting for what must come, with one limit for all of it. Running into the limit fails the test; it is no measure of speed."""

import time
from collections.abc import Callable, Iterable, Sequence

from streams.log import Consumer
from streams.record import Record

PATIENCE = 60.0
"""Seconds."""


def until(arrived: Callable[[], bool], step: Callable[[], object], what: str) -> None:
    """Repeats the step, which itself waits a little, until what we wait for has arrived."""
    deadline = time.monotonic() + PATIENCE
    while not arrived():
        assert time.monotonic() < deadline, f"waited for {PATIENCE:.0f} s in vain: {what}"
        step()


def records_from(consumer: Consumer, count: int, limit: int = 1000) -> list[Record]:
    """Polls until so many records have come, and returns all that did."""
    records: list[Record] = []
    until(lambda: len(records) >= count, lambda: records.extend(consumer.poll(limit, 0.1).records), f"{count} records")
    return records


def balanced(consumers: Sequence[Consumer], partitions: Iterable[int]) -> dict[Consumer, list[Record]]:
    """Polls the members of a group in turn until they share all partitions, none without; returns what they got meanwhile."""
    every = sorted(partitions)
    got: dict[Consumer, list[Record]] = {consumer: [] for consumer in consumers}

    def done() -> bool:
        owned = [consumer.assigned for consumer in consumers]
        return all(owned) and sorted(partition for some in owned for partition in some) == every

    def step() -> None:
        for consumer in consumers:
            got[consumer] += consumer.poll(1000, 0.05).records

    until(done, step, f"{len(consumers)} members to share partitions {every}")
    return got
