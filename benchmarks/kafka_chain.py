"""The chain on Kafka (parse, bounce rules, account look-up, routing; two fact topics and one mail topic) beside its two bounds, the decide
functions alone without a log and the bare transactional loop that writes the same bytes, and beside Quix Streams (exactly once) and
Faust (at least once) running the same decide functions.

    python -m benchmarks.kafka_chain [--mails 200000] [--rounds 3]

A worker process each, one after the other on the same mails, in rounds; the middle of each counts, with the spread beside it.
"""

import argparse
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.figures import machine, say
from benchmarks.ground import ROOT, Figure, chain, fill, ground, measured, peer, records, stored
from postroom.site import Site
from tests.broker.broker import Cluster

MAILS, ROUNDS = 20_000, 3
QUIX = ROOT / ".venv-peers" / "bin" / "python"
"""Made by `make peers`."""
PARTS = {"Quix Streams": 4, "Faust": 10}
"""These get one in so many mails, because their rates are steady and low."""


def main(mails: int = MAILS, rounds: int = ROUNDS) -> None:
    """Prints a line for each contender."""
    print(
        f"chain on Kafka: {machine()}, {mails:,} mails of 4 KB, 8 partitions, one broker, {rounds} rounds: the middle (lowest to highest)"
    )
    found: dict[str, list[Figure]] = {}
    alone: list[list[float]] = []
    with Cluster() as cluster:
        for number in range(rounds):
            for name, contender in _contenders().items():
                few = mails // PARTS.get(name, 1)
                with ground(cluster, f"c{number}{name[:4].strip().lower()}") as here:
                    fill(here, few)
                    found.setdefault(name, []).append(contender(here, few))
                    if name == CHAIN:
                        alone.append(_alone(here))
                        sizes = _sizes(cluster, here, few)
    _print(found, alone, sizes)


CHAIN, BARE = "chain", "bare loop"


def _contenders() -> dict[str, Callable[[Site, int], Figure]]:
    found: dict[str, Callable[[Site, int], Figure]] = {CHAIN: _chain, BARE: lambda here, mails: _peer(here, "bare", mails)}
    if QUIX.exists():
        found["Quix Streams"] = lambda here, mails: _peer(here, "on_quix", mails, QUIX)
    found["Faust"] = lambda here, mails: _peer(here, "on_faust", mails)
    return found


def _chain(here: Site, mails: int) -> Figure:
    figure = measured(here, here.topics.group("bounce-filter"), [chain(here)], mails)
    _check(here, mails, once=True)
    return figure


def _peer(here: Site, module: str, mails: int, python: Path | None = None) -> Figure:
    command = peer(here, module, module) if python is None else peer(here, module, module, str(python))
    figure = measured(here, module, [command], mails)
    _check(here, mails, once=module != "on_faust")
    return figure


def _check(here: Site, mails: int, *, once: bool) -> None:
    """Each mail stands in each topic: exactly once, or at least so."""
    for topic in (here.topics.screened, here.topics.authenticated, here.topics.routed("sink")):
        found = records(here, topic)
        assert found == mails if once else found >= mails, (topic, found)


def _alone(here: Site) -> list[float]:
    """Mails a second in batches, one by one, and µs of CPU a mail, of the decide functions in a process of their own."""
    done = subprocess.run(peer(here, "alone", ""), cwd=ROOT, check=True, capture_output=True)
    return [float(word) for word in done.stdout.split()]


def _sizes(cluster: Cluster, here: Site, mails: int) -> dict[str, float]:
    """Bytes a mail on the broker's disk, by topic."""
    topics = here.topics
    names = (topics.raw, topics.screened, topics.authenticated, topics.routed("sink"))
    return {name.partition(".")[2]: stored(cluster, name) / mails for name in names}


def _print(found: dict[str, list[Figure]], alone: Sequence[Sequence[float]], sizes: dict[str, float]) -> None:
    batches, singles, cpu = zip(*alone, strict=True)
    ours = _middle(found[CHAIN])
    bound = min(statistics.median(batches), _middle(found[BARE]))
    say(
        "decide functions alone, no log, in batches",
        statistics.median(batches),
        "mails/s",
        f"{_spread(batches)} {statistics.median(cpu):.0f} µs of CPU",
    )
    say("decide functions alone, no log, one by one", statistics.median(singles), "mails/s", _spread(singles))
    for name, figures in found.items():
        beside = f"{_spread([one.rate for one in figures])} {statistics.median(one.cpu for one in figures):.0f} µs of CPU"
        if name == CHAIN:
            beside += f"; {ours / bound:.2f} of the nearer bound"
        elif name != BARE:
            beside += f"; the chain has {ours / _middle(figures):.1f} times that"
        say(name, _middle(figures), "mails/s", beside)
    say("stored in the broker a mail", sum(sizes.values()), "bytes", ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items()))
    if not QUIX.exists():
        print("Quix Streams is not installed: `make peers`")


def _middle(figures: Sequence[Figure]) -> float:
    return statistics.median(one.rate for one in figures)


def _spread(rates: Sequence[float]) -> str:
    return f"({min(rates):,.0f} to {max(rates):,.0f})"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mails", type=int, default=MAILS)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    main(**vars(options.parse_args()))
