"""Workers killed with -9 in the middle of transactions."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

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

KILLS = 3
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


def test_what_the_next_owner_writes_is_soon_readable_and_each_record_is_moved_once(
    log: KafkaLog, opened: Opened, address: str, topic: Callable[..., str], group: str
) -> None:
    source, target = topic(2), topic()
    ends, stop, count = Ends(log, target), threading.Event(), 0

    def append() -> None:
        nonlocal count
        writer = opened()
        while not stop.is_set():
            writer.append([Draft(source, b"%d" % number, b"x") for number in range(20)])
            count += 20

    appending = threading.Thread(target=append)
    appending.start()
    worker = started(address, f"{group}-slot", group, source, target)
    try:
        for _ in range(KILLS):
            _kill_in_the_middle(worker, ends)
            killed, left_behind = time.monotonic(), ends.written
            worker = started(address, f"{group}-slot", group, source, target)
            until(lambda left_behind=left_behind: ends.readable >= left_behind, lambda: time.sleep(0.02), "the transaction to end")  # type: ignore[misc]
            ended = time.monotonic() - killed
            until(lambda left_behind=left_behind: ends.readable > left_behind + 1, lambda: time.sleep(0.02), "the next owner's writes")  # type: ignore[misc]
            readable = time.monotonic() - killed
            print(f"after kill -9: the transaction ended after {ended:.1f} s, the next owner's writes were readable after {readable:.1f} s")
            assert readable < READABLE_SECONDS
        stop.set()
        appending.join()
        until(lambda: _moved(log, target) >= count, lambda: time.sleep(0.2), "the rest to be moved")
    finally:
        stop.set()
        worker.kill()
        worker.communicate()
    moved = [record.value for record in log.read(target)]
    assert sorted(moved) == sorted(b"%d %d" % (record.partition, record.offset) for record in log.read(source))


def _moved(log: KafkaLog, target: str) -> int:
    return sum(1 for _ in log.read(target))
