"""Programs that the tests run as processes of their own, and kill or freeze: `python -m tests.contract.children PROGRAM ADDRESS …`.

They answer on stdout, one line at a time, and wait for a line on stdin where the test is to say when they go on.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from streams.errors import Fenced, Transient
from streams.log import Log, TopicSpec
from streams.record import Draft
from tests.contract.engines import open_address
from tests.contract.waiting import PATIENCE, records_from, until


class Child:
    """One running program. under: a command that is to run it, as strace does."""

    def __init__(self, program: str, address: str, *arguments: str, under: Sequence[str] = ()) -> None:
        command = [*under, sys.executable, "-m", "tests.contract.children", program, address, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def line(self) -> str:
        """Its next line. Fails when it ends, or says nothing for long."""
        assert self.process.stdout is not None
        while b"\n" not in self._read:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, "the child says nothing"
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, f"the child ended with status {self.process.wait()}"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def go_on(self) -> None:
        """Has it go on from where it waits for us."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stops it wherever it is."""
        os.kill(self.process.pid, signal.SIGSTOP)
        # It stops at its next step; only then is it really still.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Lets it go on after `freeze`."""
        os.kill(self.process.pid, signal.SIGCONT)

    def finished(self) -> None:
        """Waits for its end, which must be a good one."""
        assert self.process.wait(PATIENCE) == 0


def say(*words: object) -> None:
    """One line for the test."""
    print(*words, flush=True)


def append(log: Log, topic: str, writer: str, count: str) -> None:
    """Appends so many records one after the other, whose values name the writer and count up."""
    say("ready")
    sys.stdin.readline()
    for number in range(int(count)):
        log.append([Draft(topic, writer.encode(), f"{writer} {number}".encode())])


def append_one(log: Log, topic: str) -> None:
    """Appends one record when it is told to, and answers "stored"."""
    say("ready")
    sys.stdin.readline()
    log.append([Draft(topic, b"key", b"one")])
    say("stored")


def create(log: Log, topic: str) -> None:
    """Creates the topic, appends one record, and tells the log's id."""
    log.create([TopicSpec(topic, 1)])
    log.append([Draft(topic, None, b"")])
    say(log.id)


def hold(log: Log, group: str, source: str, target: str) -> None:
    """Takes a batch and holds it until it is told to commit; tells what became of that. Then begins afresh, tells when partitions are
    its own again, and leaves when it is told to."""
    consumer = log.consumer(group, [source])
    records = records_from(consumer, 1)
    positions = {record.at: record.offset + 1 for record in records}
    say("holds", len(records))
    sys.stdin.readline()
    try:
        consumer.commit([Draft(target, record.key, record.value) for record in records], positions).result()
        say("committed")
    except Fenced:
        say("fenced")
    consumer.rewind()
    until(lambda: bool(consumer.assigned), lambda: consumer.poll(1, 0.1), "partitions of its own")
    say("back")
    sys.stdin.readline()
    consumer.close()


def move(log: Log, group: str, source: str, target: str) -> None:
    """Moves records from one topic to another, the next batch while the last commits, until it is killed. A line for each poll. Begins
    afresh, as the runner does, when the log does not answer in time."""
    consumer = log.consumer(group, [source])
    stale = False
    while True:
        try:
            if stale:
                consumer.rewind()
                stale = False
            batch = consumer.poll(10, 0.1)
        except Transient:
            stale = True
            continue
        if batch.positions:
            consumer.commit([Draft(target, record.key, record.value) for record in batch.records], batch.positions)
        say("moved", len(batch.records))


PROGRAMS: dict[str, Callable[..., None]] = {"append": append, "append-one": append_one, "create": create, "hold": hold, "move": move}


if __name__ == "__main__":
    opened = open_address(sys.argv[2])
    PROGRAMS[sys.argv[1]](opened, *sys.argv[3:])
    opened.close()
