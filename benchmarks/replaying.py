"""The time machine at its full length: a preview of 200,000 recorded mails, and the accounts of their 1,000,000 records, on SQLite.

Beside the preview stand the chain's own rate on the same mails, which it went through for the first time in this run, and the bare
reading of mail.raw; beside fsck the bare reading of the topics that it reads. Preview and fsck run as their commands, once on one
processor and once on all, and memory is that of the largest of a command's processes.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.figures import fill, machine, say, site
from postroom.roles import Roles
from postroom.running import Supervisor
from postroom.site import Site

MAILS = 200_000
PART = 10_000
"""Mails that come in before the next are processed, so that nothing waits long, as on a site."""


class Cost(NamedTuple):
    """What a command took: seconds, and the peak memory of its largest process in MiB."""

    seconds: float
    mib: float


def main(mails: int = MAILS) -> None:
    """Prints everything."""
    print(f"replaying: {machine()}, {mails:,} mails of 4 KB")
    everyone = sorted(os.sched_getaffinity(0))
    with site() as here:
        chain = recorded(here, mails)
        raw = read(here, [here.topics.raw])
        one, all_ = run(here, everyone[-1:], "replay"), run(here, everyone, "replay")
        bare = sum(seconds for _, seconds in raw)
        say("chain alone, for the first time, one process", mails / chain, "mails/s")
        say("reading mail.raw bare, one process", mails / bare, "mails/s")
        say("preview, on one processor", mails / one.seconds, "mails/s", f"{chain / one.seconds:.1f} of the chain's own rate")
        gain = f"{one.seconds / all_.seconds:.2f} times one; {chain / all_.seconds:.1f} of the chain's own rate"
        say(f"preview, on {len(everyone)}", mails / all_.seconds, "mails/s", gain)
        say("  peak memory of its largest process", all_.mib, "MiB")
        account(here, everyone)
    with site() as here:
        recorded(here, mails // 10)
        say(f"  the same with {mails // 10:,} mails", run(here, everyone, "replay").mib, "MiB")
        say("  fsck's with as many", run(here, everyone, "fsck").mib, "MiB")


def account(here: Site, everyone: Sequence[int]) -> None:
    """fsck beside the bare reading."""
    topics = here.topics
    bare = list(read(here, [topics.raw, topics.screened, topics.routed("sink"), topics.outcomes]))
    records, seconds = sum(count for count, _ in bare), sum(seconds for _, seconds in bare)
    total = sum(extent.end for topic in here.log.topics() for extent in here.log.extents(topic))
    say(f"reading {records:,} of {total:,} records bare, one process", records / seconds, "records/s", f"{seconds:.1f} s")
    one, all_ = run(here, everyone[-1:], "fsck"), run(here, everyone, "fsck")
    say("fsck, on one processor", records / one.seconds, "records/s", f"{one.seconds:.1f} s")
    say(
        f"fsck, on {len(everyone)}",
        records / all_.seconds,
        "records/s",
        f"{all_.seconds:.1f} s, {one.seconds / all_.seconds:.2f} times one",
    )
    say("  peak memory of its largest process", all_.mib, "MiB")


def recorded(here: Site, mails: int) -> float:
    """Has the program process so many mails; the seconds that the chain took of it."""
    seconds = 0.0
    for first in range(0, mails, PART):
        fill(here, min(PART, mails - first), first)
        seconds += drained(here, "chain")
        drained(here, "handler:sink")
    return seconds


def drained(here: Site, role: str) -> float:
    """The seconds that a role takes for what there is."""
    runners = Roles(here, [role], drain=True).runners()
    started = time.perf_counter()
    assert Supervisor(here.log, runners).drain(30, lambda _left: None) is None
    return time.perf_counter() - started


def read(here: Site, topics: Iterable[str]) -> list[tuple[int, float]]:
    """The records of each topic, and the seconds in which they are read."""
    found = []
    for topic in topics:
        started = time.perf_counter()
        found.append((sum(1 for _ in here.log.read(topic)), time.perf_counter() - started))
    return found


def run(here: Site, processors: Sequence[int], command: str) -> Cost:
    """A command of the program on these processors."""
    program = [sys.executable, "-m", "postroom.cli", "--config", str(here.config.file), command, "--json"]
    measure = [sys.executable, "-c", _MEASURE, ",".join(map(str, processors)), *program]
    status, seconds, kib = subprocess.run(measure, capture_output=True, text=True, check=True).stdout.split()
    assert status == "0", f"{command}: exit {status}"
    return Cost(float(seconds), int(kib) / 1024)


_MEASURE = """
import os, sys, time
os.sched_setaffinity(0, [int(number) for number in sys.argv[1].split(",")])
started = time.perf_counter()
to_null = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=to_null)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - started, usage.ru_maxrss)
"""
# A process of its own, because a program's peak is not below that of the process which started it.


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=MAILS)
    main(parser.parse_args().mails)
