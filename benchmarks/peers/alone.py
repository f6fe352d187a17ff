"""The decide functions alone, without a log: `process` in batches as our runner gives them, and one by one as the peers do.

Prints both rates (mails a second), and the CPU of the first in µs a mail.
"""

import itertools
import os
import time

from benchmarks.peers.deciding import told
from postroom.roles import CHAIN_BATCH

ONE_BY_ONE = 20_000
"""So many mails are enough for the second figure."""


def main() -> None:
    """See the module. On one core, as the workers are."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    here, stage, _ = told()
    reading = here.log.read(here.topics.raw)
    seconds, cpu, mails = 0.0, 0.0, 0
    while batch := list(itertools.islice(reading, CHAIN_BATCH)):
        began, used = time.perf_counter(), time.thread_time()
        stage.process(batch)
        seconds, cpu, mails = seconds + time.perf_counter() - began, cpu + time.thread_time() - used, mails + len(batch)
    _, stage, _ = told()  # one that has not seen these mails
    few = list(itertools.islice(here.log.read(here.topics.raw), ONE_BY_ONE))
    began = time.perf_counter()
    for record in few:
        stage.process([record])
    print(mails / seconds, len(few) / (time.perf_counter() - began), cpu / mails * 1e6)


if __name__ == "__main__":
    main()
