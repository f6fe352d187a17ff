"""Brokers of Apache Kafka in KRaft mode, each a broker and controller in one, on free ports of the loopback."""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.broker.jars import classpath

JVM = [
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]
TETHER = Path(__file__).with_name("tether.py")
START_SECONDS = 60
"""How long a broker may take to answer; it takes 3 s on an idle machine."""


def free_port() -> int:
    """A port that nobody listens on, from below the range that the kernel gives to outgoing connections: a client that tries
    to reach a killed broker could otherwise be given the broker's own port, connect to itself, and keep the broker from coming back."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Broker:
    """One broker process with its data. `kill` and `start` again keep the data and the port."""

    def __init__(self, folder: Path, port: int, properties: Mapping[str, str], client: Mapping[str, str]) -> None:
        self.address = f"127.0.0.1:{port}"
        self.folder = folder
        self._client = client
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))

    @property
    def pid(self) -> int:
        """The process id, for signals of one's own (SIGSTOP)."""
        assert self._process is not None
        return self._process.pid

    def format(self, cluster: str) -> None:
        """Writes the empty log that a KRaft broker demands before its first start."""
        java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties))

    def launch(self) -> None:
        """Starts the process, and does not wait for it."""
        command = [sys.executable, str(TETHER), str(os.getpid()), "java", *JVM, "-cp", classpath(), "kafka.Kafka", str(self._properties)]
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, brokers: int = 1) -> None:
        """Returns when the broker answers and sees so many brokers."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0, **self._client})
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the broker did not start:\n{(self.folder / 'broker.log').read_text()[-3000:]}")
            try:
                if len(admin.list_topics(timeout=1).brokers) >= brokers:
                    return
            except KafkaException:
                time.sleep(0.05)

    def start(self) -> None:
        """Starts it (again) and returns when it answers."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """kill -9, as a power cut would; returns when the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cluster:
    """Brokers that know each other, with stock settings but for what a small cluster needs. Use as a context manager.

    properties: further settings of each broker, in which {port}, {control} and {folder} are its own. client: what a client needs to
    be let in.
    """

    def __init__(self, size: int = 1, properties: Mapping[str, str] | None = None, client: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postroom-kafka-"))
        self.brokers: list[Broker] = []
        ports = [(free_port(), free_port()) for _ in range(size)]
        voters = ",".join(f"{node}@127.0.0.1:{control}" for node, (_, control) in enumerate(ports, 1))
        for node, (port, control) in enumerate(ports, 1):
            folder = self.folder / str(node)
            settings = _settings(size) | {"node.id": str(node), "controller.quorum.voters": voters} | dict(properties or {})
            own = {key: value.format(port=port, control=control, folder=folder) for key, value in settings.items()}
            self.brokers.append(Broker(folder, port, own, client or {}))

    @property
    def bootstrap(self) -> str:
        """What goes into bootstrap.servers."""
        return ",".join(broker.address for broker in self.brokers)

    def __enter__(self) -> "Cluster":
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
        for broker in self.brokers:
            broker.format(cluster)
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker.wait(len(self.brokers))
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers:
            broker.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _settings(size: int) -> dict[str, str]:
    """Settings of one broker: stock ones, but for ports, for the replication of its own topics, which stock settings want on three
    brokers, for the delay before a group's first assignment, which is 0 in the server.properties that Kafka ships, and for the time
    after which the controller takes a killed broker for dead: it does not let the broker back in before."""
    return {
        "process.roles": "broker,controller",
        "listeners": "PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}",
        "advertised.listeners": "PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": "{folder}/data",
        "offsets.topic.replication.factor": str(min(size, 3)),
        "transaction.state.log.replication.factor": str(min(size, 3)),
        "transaction.state.log.min.isr": str(min(size, 2)),
        "group.initial.rebalance.delay.ms": "0",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }


def java(main: str, *arguments: str, stdin: bytes | None = None) -> str:
    """Runs one of Kafka's command line tools by the name of its class, and returns its stdout. Raises RuntimeError with its stderr."""
    command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *JVM[-1:], "-cp", classpath(), main, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{main} failed:\n{done.stderr.decode()[-3000:]}{done.stdout.decode()[-1000:]}")
    return done.stdout.decode()
