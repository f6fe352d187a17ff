"""The whole way of unsigned 4 KB mails, raw to outcome, every topic written, beside the decide functions alone without a log.

Both run on one core (the process is pinned), in turns, several times. The best rate of each counts, because noise only ever adds. What they
are to each other is the middle of what it was in each round: the two of a round run one behind the other, and the machine's speed changes
from one moment to the next.
"""

import logging
import os
import statistics
import time

from benchmarks.figures import fill, machine, say, site
from postroom import collecting
from postroom.roles import CHAIN_BATCH, Roles
from postroom.running import Supervisor
from postroom.site import Site
from streams.record import Draft, Headers, Record
from streams.runner import Runner

MAILS = 30_000
ROUNDS = 5


def main(mails: int = MAILS) -> None:
    """Prints both figures and their ratio."""
    logging.disable(logging.ERROR)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    collecting.settle()
    bounds: list[float] = []
    wholes: list[float] = []
    for _ in range(ROUNDS):
        with site() as here:
            fill(here, mails)
            bounds.append(mails / decide_alone(here))
            wholes.append(mails / drained(here))
    parts = [whole / bound for whole, bound in zip(wholes, bounds, strict=True)]
    os.sched_setaffinity(0, cores)  # for the benchmarks behind this one
    print(f"chain: {machine()}, one core, {mails:,} mails, best of {ROUNDS}")
    say("decide functions alone (chain and handler stage), no log", max(bounds), "mails/s", f"(lowest {min(bounds):,.0f})")
    share = f"{statistics.median(parts):.2f} of the bound ({min(parts):.2f} to {max(parts):.2f})"
    say("raw to outcome, every topic written, SQLite, fsync", max(wholes), "mails/s", f"(lowest {min(wholes):,.0f}) {share}")


def drained(here: Site) -> float:
    """Seconds that the program takes: chain and handler, as `run --drain` runs them."""
    runners = Roles(here, ["chain", "handler:sink"], drain=True).runners()
    started = time.perf_counter()
    assert Supervisor(here.log, runners).drain(30, lambda _left: None) is None
    return time.perf_counter() - started


def decide_alone(here: Site) -> float:
    """Seconds that the stages' `process` takes on the same records, in batches as the runner gives them."""
    roles = Roles(here, ["chain", "handler:sink"], drain=True)
    chain, *_, handler = (runner for runner in roles.runners() if isinstance(runner, Runner))
    chain.stage.assigned(frozenset(range(8)))
    records = list(here.log.read(here.topics.raw))
    routed: list[Record] = []
    seconds = 0.0
    for start in range(0, len(records), CHAIN_BATCH):
        batch = records[start : start + CHAIN_BATCH]
        started = time.perf_counter()
        results = chain.stage.process(batch)
        seconds += time.perf_counter() - started
        for result in results:
            assert isinstance(result, list)
            drafts = [draft for draft in result if ".routed." in draft.topic]
            routed += [Record(one.topic, 0, len(routed), batch[0].time, one.key, one.value, _as_read(one)) for one in drafts]
    return seconds + _handled(handler, routed)


def _as_read(draft: Draft) -> Headers:
    """The headers as a log gives them back, which knows nothing of what wrote them."""
    return tuple((name, bytes(memoryview(value))) for name, value in draft.headers)


def _handled(handler: Runner, routed: list[Record]) -> float:
    started = time.perf_counter()
    for start in range(0, len(routed), 500):
        handler.stage.process(routed[start : start + 500])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
