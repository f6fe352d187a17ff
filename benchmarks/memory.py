"""Whether memory stays flat: the peak of a process that takes 10,000 mails from raw to outcome, beside that of one that takes more."""

import subprocess
import sys
from pathlib import Path

from benchmarks.figures import machine, say

COUNTS = (10_000, 200_000)


def main(counts: tuple[int, ...] = COUNTS) -> None:
    """Prints the peak resident memory for each count, each in a process of its own."""
    print(f"memory: {machine()}, raw to outcome in one process")
    for count in counts:
        done = subprocess.run([sys.executable, "-m", "benchmarks.memory", str(count)], capture_output=True, text=True, check=True)
        say(f"peak resident memory after {count:,} mails", float(done.stdout), "MiB")


def run(count: int) -> None:
    """The measured process: takes in all of them, then drains them in one life of the worker."""
    import logging

    from benchmarks.chain import drained
    from benchmarks.figures import fill, site

    logging.disable(logging.ERROR)
    with site() as here:
        fill(here, count)
        drained(here)
    # Not ru_maxrss, which is never below that of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


if __name__ == "__main__":
    run(int(sys.argv[1])) if len(sys.argv) > 1 else main()
