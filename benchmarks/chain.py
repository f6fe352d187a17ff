"""The whole way of unsigned 4 KB mails, raw to outcome, every topic written, beside the decide functions alone without a log.

Both run on one core (the process is pinned), in turns, several times; the best of each counts, because noise only ever adds.
"""

import logging
import os
import time

from benchmarks.figures import fill, machine, say, site
from postroom import collecting
from postroom.roles import Roles
from postroom.running import Supervisor
from postroom.site import Site
from streams.record import Draft, Headers, Record
from streams.runner import Runner

MAILS = 30_000
ROUNDS = 3


def main(mails: int = MAILS) -> None:
    """Prints both figures and their ratio."""
    logging.disable(logging.ERROR)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    collecting.settle()
    whole, bound = 0.0, 0.0
    for _ in range(ROUNDS):
        with site() as here:
            fill(here, mails)
            bound = max(bound, mails / decide_alone(here))
            whole = max(whole, mails / drained(here))
    os.sched_setaffinity(0, cores)  # for the benchmarks behind this one
    print(f"chain: {machine()}, one core, {mails:,} mails, best of {ROUNDS}")
    say("decide functions alone (chain and handler stage), no log", bound, "mails/s")
    say("raw to outcome, every topic written, SQLite, fsync", whole, "mails/s", f"{whole / bound:.2f} of the bound")


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
    for start in range(0, len(records), 1000):
        batch = records[start : start + 1000]
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
