"""Workers killed with -9 in the middle of transactions."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its way to export

from streams.kafka import KafkaLog
from streams.record import Draft
from tests.contract.waiting import until
from tests.kafka.conftest import Opened
from tests.kafka.worker import started

pytestmark = pytest.mark.kafka

KILLS = 2
READABLE_SECONDS = 15.0
"""Row E1 of the acceptance table: so soon what the next owner writes is readable."""


class Ends:
    """The end of a topic of one partition, for all readers and for those of committed records."""

    def __init__(self, log: KafkaLog, topic: str) -> None:
        self._admin = log._topics.admin
        self._at = At(topic, 0)

    def _offset(self, level: IsolationLevel) -> int:
        asked = self._admin.list_offsets({self._at: OffsetSpec.latest()}, isolation_level=level)  # type: ignore[no-untyped-call]
        return int(asked[self._at].result().offset)

    @property
    def written(self) -> int:
        """One past the newest record, committed or not."""
        return self._offset(IsolationLevel.READ_UNCOMMITTED)

    @property
    def readable(self) -> int:
        """One past the newest record before which no transaction is open."""
        return self._offset(IsolationLevel.READ_COMMITTED)


def _kill_in_the_middle(worker: "subprocess.Popen[str]", ends: Ends) -> None:
    """Kills it while it has a transaction open: it is stopped on suspicion, and killed if the transaction stays open then."""
    while True:
        until(lambda: ends.written > ends.readable, lambda: None, "an open transaction")
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(0.2)  # Not for something to happen, but for nothing to: the marks of a transaction that was committed already.
        if ends.written > ends.readable:
            break
        os.kill(worker.pid, signal.SIGCONT)
    worker.kill()
    worker.communicate()


@contextmanager
def _appending(log: KafkaLog, source: str) -> Iterator[list[int]]:
    """Appends to a topic all the while. Gives the numbers of records so far."""
    stop, counts = threading.Event(), [0]

    def append() -> None:
        while not stop.is_set():
            log.append([Draft(source, b"%d" % number, b"x") for number in range(20)])
            counts.append(counts[-1] + 20)

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def _until_readable(ends: Ends, left_behind: int, killed: float) -> None:
    """Until something can be read that was written behind what the dead worker wrote; soon enough."""
    until(lambda: ends.readable >= left_behind, lambda: time.sleep(0.02), "the transaction to end")
    ended = time.monotonic() - killed
    until(lambda: ends.readable > left_behind + 1, lambda: time.sleep(0.02), "the next owner's writes")
    readable = time.monotonic() - killed
    print(f"after kill -9: the transaction ended after {ended:.1f} s, the next owner's writes were readable after {readable:.1f} s")
    assert readable < READABLE_SECONDS


def test_what_the_next_owner_writes_is_soon_readable_and_each_record_is_moved_once(
    log: KafkaLog, opened: Opened, address: str, topic: Callable[..., str], group: str
) -> None:
    """The worker starts again in its slot, and ends by itself what it left open."""
    source, target = topic(2), topic()
    ends = Ends(log, target)
    worker = started(address, f"{group}-slot", group, source, target)
    try:
        with _appending(opened(), source) as counts:
            for _ in range(KILLS):
                _kill_in_the_middle(worker, ends)
                killed, left_behind = time.monotonic(), ends.written
                worker = started(address, f"{group}-slot", group, source, target)
                _until_readable(ends, left_behind, killed)
        until(lambda: _moved(log, target) >= counts[-1], lambda: time.sleep(0.2), "the rest to be moved")
    finally:
        worker.kill()
        worker.communicate()
    _each_once(log, source, target)


def test_it_is_soon_readable_also_where_the_dead_worker_never_comes_back(
    log: KafkaLog, opened: Opened, address: str, topic: Callable[..., str], group: str
) -> None:
    """A worker of another slot takes over; the broker ends what was left open."""
    source, target = topic(2), topic()
    ends = Ends(log, target)
    dead = started(address, f"{group}-dead", group, source, target)
    other = None
    try:
        with _appending(opened(), source) as counts:
            _kill_in_the_middle(dead, ends)
            killed, left_behind = time.monotonic(), ends.written
            other = started(address, f"{group}-other", group, source, target)
            _until_readable(ends, left_behind, killed)
        until(lambda: _moved(log, target) >= counts[-1], lambda: time.sleep(0.2), "the rest to be moved")
    finally:
        for worker in (dead, other):
            if worker is not None and worker.poll() is None:
                worker.kill()
                worker.communicate()
    _each_once(log, source, target)


def _each_once(log: KafkaLog, source: str, target: str) -> None:
    moved = [record.value for record in log.read(target)]
    assert sorted(moved) == sorted(b"%d %d" % (record.partition, record.offset) for record in log.read(source))


def _moved(log: KafkaLog, target: str) -> int:
    return sum(1 for _ in log.read(target))
