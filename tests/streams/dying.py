"""A worker for the tests of deaths: `python -m tests.streams.dying LOG GROUP…`, a runner in one process for each group, which share a gate.

A record whose value begins with "deadly" kills the process; "slow" takes a while; "hold" finds a part away.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from streams.faults import Hold
from streams.gate import Gate
from streams.record import Record
from streams.runner import Options, Runner
from streams.sqlite import SqliteLog
from streams.stage import Result
from tests.streams.test_runner import Copy


class Dying(Copy):
    """Copies records, and says so on standard output before each."""

    def process(self, records: Sequence[Record]) -> list[Result]:
        print(*(f"{record.topic}:{record.value.decode()}" for record in records), flush=True)
        return super().process(records)


def act(record: Record) -> None:
    """What a record does to its worker."""
    if record.value.startswith(b"deadly"):
        time.sleep(0.1)  # so that the others of the process have begun, too
        os.kill(os.getpid(), signal.SIGKILL)
    if record.value.startswith(b"slow"):
        time.sleep(0.3)
    if record.value.startswith(b"hold"):
        raise Hold("database", "no connection", probe_after=0.02)


def main(path: str, *topics: str) -> None:
    """A runner for each topic, whose group has its name, until a line comes on standard input, or the end."""
    log, gate = SqliteLog(Path(path)), Gate()
    runners = [Runner(log, f"group of {topic}", [topic], Dying(act), options=Options(batch=100, gate=gate)) for topic in topics]
    threads = [threading.Thread(target=runner.run) for runner in runners]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    for runner in runners:
        runner.stop()
    for thread in threads:
        thread.join()
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
