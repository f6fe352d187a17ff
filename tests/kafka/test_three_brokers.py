"""Three brokers, three copies, two of them in sync at least: the leader of a partition is killed while all work goes on."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from streams.log import TopicSpec
from tests.broker.broker import Broker, Cluster
from tests.broker.shared import demand
from tests.contract.waiting import until
from tests.kafka.conftest import Opened
from tests.kafka.test_broker_faults import Worker, Writer, all_is_there_once, finish, until_more

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka-three")]

SPEC = {"min.insync.replicas": "2"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three brokers."""
    demand()
    with Cluster(3, SPEC) as made:
        yield made


def test_the_death_of_a_leader_loses_and_doubles_nothing(cluster: Cluster, opened: Opened) -> None:
    log = opened(bootstrap=cluster.bootstrap)
    log.create([TopicSpec(name, 2, replication=3, config=SPEC) for name in ("source", "target")])
    writers = [Writer(log, "source", size) for size in (1, 3)]
    worker = Worker(log, "group", "source", "target")
    for thread in (*writers, worker):
        thread.start()
    until_more(writers)
    until(lambda: log.extents("target")[0].end > 0, lambda: time.sleep(0.1), "commits")
    leader = _leader(cluster, "target")
    leader.kill()
    until_more(writers)
    leader.start()
    until_more(writers)
    finish(log, writers, worker)
    all_is_there_once(log, writers)


def _leader(cluster: Cluster, topic: str) -> Broker:
    """The broker that leads the topic's first partition. Nodes are counted from 1."""
    found = AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(topic, timeout=10)
    return cluster.brokers[found.topics[topic].partitions[0].leader - 1]
