"""Deliveries a second of a coroutine handler that waits 50 ms, at concurrency 1, 32 and 256, on the transactional runner and on Faust;
beside the bound, concurrency through 50 ms. Of one that does not wait, which shows what a delivery costs by itself. And how long a
hundred mails take when one before them waits for 10 s: the runner writes a batch when all of it is done.

    python -m benchmarks.waiting [--seconds 5]

The log is a broker of Apache Kafka on this machine, and the worker `postroom run handler:x settle` in a process of its own. Timed is
from the append of all deliveries to mail.routed.x until the last outcome can be read, with a worker that has joined its group before.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import machine, mail, say
from handlers.testkit import facts as facts_of_mail
from postroom.site import Site
from streams.record import Draft
from tests.broker.broker import Cluster
from topology.records import mail_draft

SECONDS = 5.0
WAIT = 0.05
CONCURRENCIES = (1, 32, 256)
_MOST = 1_200
"""Deliveries a second that either runtime may come to here, for sizing."""
_SETTINGS = """
[log]
url = "kafka://{bootstrap}"
prefix = "bench{number}"
[handlers.x]
use = "python"
python = "waits:{function}"
domains = ["x.example"]
runtime = "{runtime}"
concurrency = {concurrency}
"""
_CODE = f"""
import asyncio

async def waits(mail):
    await asyncio.sleep({WAIT})

async def at_once(mail):
    pass

async def one_hangs(mail):
    await asyncio.sleep(10 if mail.recipient.startswith("box16@") else 0)
"""


class Figure(NamedTuple):
    """rate: deliveries a second. cpu: of the worker, seconds a delivery."""

    rate: float
    cpu: float


def main(seconds: float = SECONDS, concurrencies: Sequence[int] = CONCURRENCIES) -> None:
    """Prints a line for each runtime and concurrency."""
    logging.disable(logging.ERROR)
    print(f"waiting: {machine()}, 4 KB mails, a recipient each, 8 partitions, one worker process")
    with Cluster() as cluster:
        number = 0
        for function, several in (("waits", concurrencies), ("at_once", (32,))):
            for concurrency in several:
                for runtime in ("runner", "faust"):
                    number += 1
                    figure = measured(cluster.bootstrap, number, function, runtime, concurrency, seconds)
                    bound = f"{figure.rate * WAIT / concurrency:.2f} of the bound, " if function == "waits" else ""
                    what = f"{runtime}, the handler {'waits' if function == 'waits' else 'does not wait'}, concurrency {concurrency}"
                    say(what, figure.rate, "mails/s", f"{bound}{figure.cpu * 1e6:.0f} µs of CPU a mail")
        for runtime in ("runner", "faust"):
            number += 1
            with _installation(cluster.bootstrap, number, "one_hangs", runtime, 32) as (site, _):
                say(f"{runtime}, a hundred mails behind one that waits 10 s", _timed(site, 101, but=1), "s")


def measured(bootstrap: str, number: int, function: str, runtime: str, concurrency: int, seconds: float) -> Figure:
    """One figure, on topics of its own."""
    bound = concurrency / WAIT if function == "waits" else _MOST
    count = max(20, round(min(bound, _MOST) * seconds))
    with _installation(bootstrap, number, function, runtime, concurrency) as (site, pid):
        cpu = _cpu(pid)
        return Figure(count / _timed(site, count), (_cpu(pid) - cpu) / count)


@contextmanager
def _installation(bootstrap: str, number: int, function: str, runtime: str, concurrency: int) -> Iterator[tuple[Site, int]]:
    """A site with a worker that has joined, and its process id."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        base = Path(folder)
        settings = _SETTINGS.format(bootstrap=bootstrap, number=number, function=function, runtime=runtime, concurrency=concurrency)
        (base / "postroom.toml").write_text(settings)
        (base / "accounts.toml").write_text("")
        (base / "waits.py").write_text(_CODE)
        site = Site.at(base / "postroom.toml")
        try:
            site.ensure_topics()
            roles = ["handler:x", "settle"] if runtime == "faust" else ["handler:x"]
            with _worker(base, roles) as pid:
                _deliver(site, 0, 16)  # it has joined, and every partition has been taken over
                _wait_for(site, 16)
                yield site, pid
        finally:
            site.close()


def _timed(site: Site, count: int, but: int = 0) -> float:
    """Seconds from the append of so many deliveries until they have their outcomes, but for so many of them."""
    started = time.perf_counter()
    _deliver(site, 16, count)
    _wait_for(site, 16 + count - but)
    return time.perf_counter() - started


def _deliver(site: Site, first: int, count: int) -> None:
    drafts = [_draft(site, number) for number in range(first, first + count)]
    for start in range(0, count, 500):
        site.log.append(drafts[start : start + 500])


def _draft(site: Site, number: int) -> Draft:
    raw, recipient = mail(number), f"box{number}@x.example"
    facts = facts_of_mail(raw, recipient=recipient)
    return mail_draft(site.topics, site.topics.routed("x"), b"routed", str(number), recipient, facts, raw)


def _wait_for(site: Site, outcomes: int) -> None:
    """Until so many outcomes can be read. The end of a partition counts what transactions leave there too, so it is a first look only."""
    while sum(extent.end for extent in site.log.extents(site.topics.outcomes)) < outcomes:
        time.sleep(0.01)
    while sum(1 for _ in site.log.read(site.topics.outcomes)) < outcomes:
        time.sleep(0.05)


@contextmanager
def _worker(folder: Path, roles: Sequence[str]) -> Iterator[int]:
    postroom = str(Path(sys.executable).with_name("postroom"))
    command = [postroom, "--config", str(folder / "postroom.toml"), "--log-level", "error", "run", *roles]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield worker.pid
    finally:
        worker.terminate()
        worker.wait()


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has taken so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=SECONDS, help="about how long each figure is measured")
    main(options.parse_args().seconds)
