"""Latency on Kafka at 500 mails a second: from the call of append until the outcome can be read (read committed), with one worker process
that runs chain and handler.

    python -m benchmarks.kafka_latency [--seconds 20] [--rate 500]

Mails are due by the clock, and counted from when they were due: one that is appended late because an earlier one took long has that
time on its account.
"""

import argparse
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as At

from benchmarks.figures import arrival, machine, say
from benchmarks.ground import POSTROOM, ground
from postroom.site import Site
from tests.broker.broker import Cluster

SECONDS, RATE = 20, 500
HANDING_OVER = 16
"""Connections that hand over, each with one mail at a time."""
WARM = 2
"""Seconds at the beginning that do not count: the worker joins, and the broker warms up."""


def main(seconds: int = SECONDS, rate: int = RATE) -> None:
    """Prints the percentiles."""
    print(f"latency on Kafka: {machine()}, 4 KB mails, 8 partitions, one broker, {rate} mails/s for {seconds} s")
    with Cluster() as cluster, ground(cluster, "latency") as here, _worker(here):
        late = sorted(measured(here, seconds, rate))
    assert len(late) == seconds * rate
    for percent in (50, 95, 99, 100):
        say(f"append to outcome, {f'p{percent}' if percent < 100 else 'the slowest'}", _percentile(late, percent) * 1000, "ms")
    say("append to outcome, mean", statistics.mean(late) * 1000, "ms")


def measured(here: Site, seconds: int, rate: int) -> list[float]:
    """Seconds that each mail took, without the first ones."""
    total = (seconds + WARM) * rate
    arrivals = [arrival(here, number) for number in range(total)]
    reader = _Reader(here, total)
    reader.start()
    begin = time.perf_counter() + 1
    due = {one.envelope.mail_id: begin + number / rate for number, one in enumerate(arrivals)}
    numbers = count()

    def hand_over() -> None:
        while (number := next(numbers)) < total:
            time.sleep(max(0.0, due[arrivals[number].envelope.mail_id] - time.perf_counter()))
            here.acceptor.accept([arrivals[number]])

    threads = [threading.Thread(target=hand_over) for _ in range(HANDING_OVER)]
    for thread in threads:
        thread.start()
    for thread in (*threads, reader):
        thread.join()
    counted = [one.envelope.mail_id for one in arrivals[WARM * rate :]]
    return [reader.seen[mail_id] - due[mail_id] for mail_id in counted]


class _Reader(threading.Thread):
    """Notes when each outcome could be read, by mail id, which is its key."""

    def __init__(self, here: Site, total: int) -> None:
        super().__init__(name="outcomes")
        self.seen: dict[str, float] = {}
        self._total = total
        address = here.settings.log.url.removeprefix("kafka://")
        settings = {"bootstrap.servers": address, "group.id": "latency", "isolation.level": "read_committed", "fetch.wait.max.ms": 10}
        self._consumer = Consumer(settings)
        self._consumer.assign([At(here.topics.outcomes, number, 0) for number in range(here.settings.log.topics.partitions)])

    def run(self) -> None:
        """Until all are there."""
        while len(self.seen) < self._total + 1:  # and the one before them
            message = self._consumer.poll(1.0)
            key = message.key() if message is not None and message.error() is None else None
            if key is not None:
                self.seen.setdefault(str(key, "ascii"), time.perf_counter())
        self._consumer.close()


@contextmanager
def _worker(here: Site) -> Iterator[None]:
    """Chain and handler, once they own their partitions: a first mail has come through."""
    command = [POSTROOM, "--config", str(here.config.file), "--log-level", "error", "run", "chain", "handler:sink"]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        here.acceptor.accept([arrival(here, -1)])
        while not sum(extent.end for extent in here.log.extents(here.topics.outcomes)):
            assert worker.poll() is None
            time.sleep(0.1)
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=SECONDS)
    options.add_argument("--rate", type=int, default=RATE)
    main(**vars(options.parse_args()))
