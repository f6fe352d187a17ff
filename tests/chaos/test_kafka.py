"""E1 to E3 on Kafka: workers are killed and frozen and brokers are killed while mails come in; then everything is accounted for."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.broker.broker import Cluster
from tests.broker.shared import demand
from tests.chaos.gale import Gale, Plan

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("gale")]

MakeCluster = Callable[[int], Cluster]


@pytest.fixture
def cluster() -> Iterator[MakeCluster]:
    """Starts so many brokers, which may be killed."""
    demand()
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(Cluster(size, {"min.insync.replicas": "2"} if size > 1 else {}))


def test_a_short_gale_on_a_broker_loses_nothing_and_doubles_nothing(tmp_path: Path, chance: random.Random, cluster: MakeCluster) -> None:
    print(Gale(tmp_path, chance, cluster(1), Plan(mails=300, kills=3, brokers=1, frozen=1)).blow())


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("brokers", [1, 3])
def test_50_000_mails_through_60_kills_of_workers_and_three_of_a_broker(
    tmp_path: Path, chance: random.Random, cluster: MakeCluster, brokers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """On three brokers, those that are killed lead a partition."""
    told = Gale(tmp_path, chance, cluster(brokers), Plan(mails=50_000, kills=60, brokers=3, frozen=1)).blow()
    with capsys.disabled():
        print(f"\n{brokers} brokers: {told}")
