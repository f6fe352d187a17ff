"""What the benchmarks on Kafka share: a broker of this machine, a site on it with mails before it, and watching a worker from outside.

Every contender is a process of its own, and is measured in the same way: by where its consumer group stands in mail.raw, from the
moment at which it has passed a tenth of the mails (so that joining and warming up do not count) until it has passed them all. Each
keeps the threads of its interpreter on one core, as docs/kafka.md advises, while those of the Kafka client, which need no interpreter, may
use all: ours by `run --core`, the others by our hand.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import OFFSET_INVALID, Consumer, Producer
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import AdminClient

from benchmarks.figures import arrival, site
from postroom.site import Site
from streams.kafka.messages import produce
from tests.broker.broker import Cluster
from topology.records import raw_draft

LOG = '[log]\nurl = "kafka://{bootstrap}"\nprefix = "{prefix}"\n[log.topics]\npartitions = {partitions}\n'
PATIENCE = 600.0
"""Seconds after which a contender that does not come to the end has failed."""
POSTROOM = str(Path(sys.executable).with_name("postroom"))
ROOT = Path(__file__).parent.parent


class Figure(NamedTuple):
    """rate: mails a second. cpu: of the process, µs a mail."""

    rate: float
    cpu: float


@contextmanager
def ground(cluster: Cluster, prefix: str, partitions: int = 8) -> Iterator[Site]:
    """A site of its own on the cluster, with its topics."""
    with site(LOG.format(bootstrap=cluster.bootstrap, prefix=prefix, partitions=partitions)) as made:
        yield made


def fill(here: Site, mails: int) -> None:
    """Puts mails on mail.raw, not in transactions, so that offsets count mails."""
    producer = Producer({"bootstrap.servers": _address(here), "partitioner": "murmur2_random", "linger.ms": 20, "acks": "all"})
    for number in range(mails):
        made = arrival(here, number)
        produce(producer, raw_draft(here.topics, made.envelope, made.raw))
    producer.flush()


def passed(here: Site, group: str) -> "Passed":
    """See `Passed`."""
    return Passed(_address(here), group, here.topics.raw, here.settings.log.topics.partitions)


class Passed:
    """How many mails of a topic a group has committed so far. Reads beside transactions under way, and waits for none."""

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "isolation.level": "read_uncommitted"})
        self._ats = [At(topic, number) for number in range(partitions)]

    def __call__(self) -> int:
        found = self._consumer.committed(self._ats, timeout=10)
        return sum(at.offset for at in found if at.offset != OFFSET_INVALID)

    def close(self) -> None:
        """Lets the connection go."""
        self._consumer.close()


def chain(here: Site, number: int = 0) -> list[str]:
    """The command of a chain worker. number: counts the workers, which take cores from the last on."""
    common = [POSTROOM, "--config", str(here.config.file), "--log-level", "error"]
    return [*common, "run", "chain", "--slot", str(number), "--core", str(_core(number))]


def _core(number: int) -> int:
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    return cores[number % len(cores)]


def peer(here: Site, module: str, group: str, python: str = sys.executable) -> list[str]:
    """The command of a module in `benchmarks.peers`."""
    return [python, "-m", f"benchmarks.peers.{module}", str(here.config.file), group]


def measured(here: Site, group: str, commands: Sequence[Sequence[str]], mails: int) -> Figure:
    """The figure of these processes together, which share the group."""
    workers = [subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=ROOT) for command in commands]
    count = passed(here, group)
    try:
        _until(count, 1, workers)
        _all_joined(here, group, workers)
        for number, worker in enumerate(workers):
            _keep(worker.pid, _core(number))
        done = _until(count, mails // 10, workers)
        began, cpu = time.perf_counter(), sum(_cpu(worker.pid) for worker in workers)
        assert _until(count, mails, workers) == mails
        seconds = time.perf_counter() - began
        return Figure((mails - done) / seconds, (sum(_cpu(worker.pid) for worker in workers) - cpu) / (mails - done) * 1e6)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
        count.close()


def _all_joined(here: Site, group: str, workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Waits until each worker owns partitions: one that comes a moment later has the group share them out anew, and stand meanwhile."""
    admin = AdminClient({"bootstrap.servers": _address(here)})

    def owners() -> int:
        members = admin.describe_consumer_groups([group])[group].result().members
        return sum(bool(member.assignment.topic_partitions) for member in members)

    _until(owners, len(workers), workers)


def _keep(pid: int, core: int) -> None:
    """What `run --core` does, for a process that is at work: who did so itself already finds nothing changed."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            of_client = (task / "comm").read_text().startswith("rdk:")
            os.sched_setaffinity(int(task.name), os.sched_getaffinity(0) if of_client else {core})


def _until(count: Callable[[], int], enough: int, workers: Sequence["subprocess.Popen[bytes]"]) -> int:
    deadline = time.monotonic() + PATIENCE
    while (done := count()) < enough:
        assert all(worker.poll() is None for worker in workers), "a contender has ended before its time"
        assert time.monotonic() < deadline, f"{done} of {enough} after {PATIENCE:.0f} s"
        time.sleep(0.02)
    return done


def records(here: Site, topic: str) -> int:
    """Committed records of a topic, counted one by one."""
    settings = {"bootstrap.servers": _address(here), "group.id": "count", "isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer(settings)
    consumer.assign([At(topic, number, 0) for number in range(here.log.topics()[topic])])
    found, ends = 0, 0
    while ends < here.settings.log.topics.partitions:
        for message in consumer.consume(10_000, 1.0):
            found += message.error() is None
            ends += message.error() is not None
    consumer.close()
    return found


def stored(cluster: Cluster, topic: str) -> int:
    """Bytes of a topic on the first broker's disk."""
    folders = (cluster.brokers[0].folder / "data").glob(f"{topic}-*")
    return sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))


def _address(here: Site) -> str:
    return here.settings.log.url.removeprefix("kafka://")


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has taken so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
