"""A broker killed with -9 and restarted in the middle of appends and commits, and one whose disk is full."""

import resource
import smtplib
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from streams.errors import Fenced, Transient
from streams.kafka import KafkaLog
from streams.log import TopicSpec
from streams.record import Draft
from tests.acceptance.place import Letters, Place
from tests.broker.broker import Cluster, free_port
from tests.broker.shared import demand
from tests.contract.waiting import until
from tests.kafka.conftest import Opened
from tests.onkafka.waiting import lmtp

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka-faults")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A broker to be maltreated, with two disks for records and one for what brokers agree on."""
    demand()
    with Cluster(1, {"log.dirs": "{folder}/one,{folder}/two", "metadata.log.dir": "{folder}/agreed"}) as made:
        yield made


class Writer(threading.Thread):
    """Appends so many values of its own again and again, as ingest does: one that was refused is handed over again."""

    def __init__(self, log: KafkaLog, topic: str, size: int) -> None:
        super().__init__(daemon=True)
        self.stored: Counter[bytes] = Counter()
        self.refused: list[Transient] = []
        self.stop = threading.Event()
        self._log = log
        self._topic = topic
        self._size = size

    def run(self) -> None:
        while not self.stop.is_set():
            values = [uuid.uuid4().bytes for _ in range(self._size)]
            try:
                self._log.append([Draft(self._topic, value[:1], value) for value in values])
                self.stored.update(values)
            except Transient as error:
                self.refused.append(error)


class Worker(threading.Thread):
    """Moves records, the next batch while the last commits; starts afresh when it must."""

    def __init__(self, log: KafkaLog, group: str, source: str, target: str) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.failed: BaseException | None = None
        self._consumer = log.consumer(group, [source])
        self._target = target
        self._under_way: deque[Future[None]] = deque()

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self._turn()
            self._consumer.close()
        except BaseException as error:
            self.failed = error

    def _turn(self) -> None:
        try:
            batch = self._consumer.poll(100, 0.1)
            if batch.positions:
                outputs = [Draft(self._target, record.key, b"%d %d" % (record.partition, record.offset)) for record in batch.records]
                self._under_way.append(self._consumer.commit(outputs, batch.positions))
            while len(self._under_way) > (3 if batch.records else 0):
                self._under_way.popleft().result()
        except (Fenced, Transient):
            self._under_way.clear()
            try:
                self._consumer.rewind()
            except Transient:
                self.stop.wait(0.5)


def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(cluster: Cluster, opened: Opened) -> None:
    """Killed twice: once until appends were refused, once for as short as can be."""
    log = opened(bootstrap=cluster.bootstrap)
    log.create([TopicSpec("source", 2), TopicSpec("target", 2)])
    writers = [Writer(log, "source", size) for size in (1, 3)]
    worker = Worker(log, "group", "source", "target")
    for thread in (*writers, worker):
        thread.start()
    (broker,) = cluster.brokers
    until(lambda: all(writer.stored for writer in writers), lambda: time.sleep(0.1), "appends")
    until(lambda: log.extents("target")[0].end > 0, lambda: time.sleep(0.1), "commits")
    broker.kill()
    until(lambda: all(writer.refused for writer in writers), lambda: time.sleep(0.1), "appends to be refused")
    broker.start()
    until_more(writers)
    broker.kill()
    broker.start()
    until_more(writers)
    finish(log, writers, worker)
    all_is_there_once(log, writers)
    for error in (error for writer in writers for error in writer.refused):
        assert broker.address in str(error) or "source" in str(error) or "append" in str(error)


def until_more(writers: list[Writer]) -> None:
    """Waits until each has stored more."""
    for writer in writers:
        before = sum(writer.stored.values())
        until(lambda: sum(writer.stored.values()) > before + 20, lambda: time.sleep(0.1), "appends again")  # noqa: B023 - called at once


def finish(log: KafkaLog, writers: list[Writer], worker: Worker) -> None:
    """Ends the appends, waits until all of them are moved, and ends the worker."""
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join()

    def moved() -> bool:
        return sum(1 for _ in log.read("target")) >= sum(1 for _ in log.read("source"))

    until(lambda: worker.failed is not None or moved(), lambda: time.sleep(0.2), "the rest to be moved")
    worker.stop.set()
    worker.join()
    assert worker.failed is None


def all_is_there_once(log: KafkaLog, writers: list[Writer]) -> None:
    """Every append that returned is there, none is there twice, and each record was moved once."""
    there = Counter(record.value for record in log.read("source"))
    stored = sum((writer.stored for writer in writers), Counter[bytes]())
    assert not stored - there
    assert max(there.values()) == 1
    moved = [record.value for record in log.read("target")]
    assert sorted(moved) == sorted(b"%d %d" % (record.partition, record.offset) for record in log.read("source"))


def test_a_broker_whose_disk_is_full_refuses_appends_and_takes_them_once_there_is_room(cluster: Cluster, opened: Opened) -> None:
    """The kernel lets no file of the broker's grow beyond 1 MB, which a broker meets as it meets a full disk: KAFKA_STORAGE_ERROR."""
    log = opened(bootstrap=cluster.bootstrap, delivery_timeout_ms="4000")
    log.create([TopicSpec("full", 1)])
    log.append([Draft("full", None, b"x" * 500_000)])
    log.append([Draft("full", None, b"x" * 500_000)])
    (broker,) = cluster.brokers
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    with pytest.raises(Transient, match=r"full.*disk \(its log\.dirs\)"):
        log.append([Draft("full", None, b"x" * 500_000)])
    broker.kill()
    broker.start()
    log.append([Draft("full", None, b"small")])
    assert [len(record.value) for record in log.read("full")] == [500_000, 500_000, 5]


def test_while_the_brokers_disk_is_full_mail_servers_are_told_to_come_again_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    """As above, from outside: each way in says what to do about it."""
    port = free_port()
    place = Place(
        tmp_path,
        f"kafka://{cluster.bootstrap}",
        handlers={"foo": {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True}},
        sections={
            "log": {"kafka": {"delivery.timeout.ms": 4000}},
            "log.topics": {"partitions": 1},
            "archive": {"inline_limit": 600_000},
            "ingest": {"lmtp": f"127.0.0.1:{port}"},
        },
    )
    letter = Letters()
    place.imported([letter("1@foo.com", body="large " * 80_000) for _ in range(2)])
    (broker,) = cluster.brokers
    running = place.start("run", "lmtp")
    with lmtp(port) as client:
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        large = letter("1@foo.com", body="large " * 80_000)
        with pytest.raises(smtplib.SMTPDataError) as answer:
            client.sendmail("test@canonical.com", ["1@foo.com"], large)
    assert answer.value.smtp_code == 451
    place.run("pipe", "--recipient", "1@foo.com", data=large.encode(), status=75)
    assert "disk (its log.dirs)" in place.stderr
    file = place.write("kept.eml", large)
    place.run("import", str(file), status=75)
    assert "disk (its log.dirs)" in place.stderr
    broker.kill()
    broker.start()
    with lmtp(port) as client:
        client.sendmail("test@canonical.com", ["1@foo.com"], large)
    running.terminate()
    assert running.wait(60) == 0
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"] * 3
    assert place.fsck()["lost"] == 0
