"""A worker to be killed: `python -m tests.kafka.worker BOOTSTRAP SLOT GROUP SOURCE TARGET`.

Moves records from one topic to the other, the next batch while the last commits, and says so, one line a batch.
"""

import subprocess
import sys

from streams.errors import Fenced, Transient
from streams.kafka import KafkaLog
from streams.record import Draft
from tests.kafka.conftest import QUICK


def work(bootstrap: str, slot: str, group: str, source: str, target: str) -> None:
    """Works until it is killed."""
    consumer = KafkaLog(bootstrap, slot=slot, config=QUICK).consumer(group, [source])
    while True:
        try:
            batch = consumer.poll(50, 0.1)
            if batch.positions:
                outputs = [Draft(target, record.key, b"%d %d" % (record.partition, record.offset)) for record in batch.records]
                consumer.commit(outputs, batch.positions)
                print("moved", flush=True)
        except (Fenced, Transient):
            consumer.rewind()


def started(*arguments: str) -> "subprocess.Popen[str]":
    """Such a worker, running."""
    return subprocess.Popen([sys.executable, "-m", "tests.kafka.worker", *arguments], stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    work(*sys.argv[1:])
