"""How the chain on Kafka grows: with 1 and 2 worker processes, on 4 and 32 partitions.

    python -m benchmarks.kafka_growth [--mails 60000]

The broker runs on the same processors, so that two workers on two of them compete with it and with each other.
"""

import argparse

from benchmarks.figures import machine, say
from benchmarks.ground import chain, fill, ground, measured
from tests.broker.broker import Cluster

MAILS = 60_000


def main(mails: int = MAILS) -> None:
    """Prints a line for each."""
    print(f"growth on Kafka: {machine()}, {mails:,} mails of 4 KB, one broker")
    with Cluster() as cluster:
        for partitions in (4, 32):
            for workers in (1, 2):
                with ground(cluster, f"g{partitions}x{workers}", partitions) as here:
                    fill(here, mails)
                    commands = [chain(here, number) for number in range(workers)]
                    figure = measured(here, here.topics.group("bounce-filter"), commands, mails)
                beside = f"{figure.cpu:.0f} µs of CPU a mail in the workers"
                say(f"{partitions} partitions, {workers} worker{'s' * (workers > 1)}", figure.rate, "mails/s", beside)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mails", type=int, default=MAILS)
    main(options.parse_args().mails)
