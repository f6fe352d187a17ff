"""E2: the broker is killed and comes back while mail servers hand over."""

import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Event, Thread

import pytest

from tests.acceptance.place import Letters
from tests.broker.broker import Cluster, free_port
from tests.broker.shared import demand
from tests.onkafka.conftest import MakePlace
from tests.onkafka.waiting import lmtp, until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A broker to be killed."""
    demand()
    with Cluster(1) as made:
        yield made


class MailServer(Thread):
    """Hands mails over by LMTP, one after another, each again until it is taken, as a mail server does."""

    def __init__(self, port: int, letters: Letters, name: str) -> None:
        super().__init__()
        self.enough = Event()
        self.taken: list[str] = []
        self.answers: Counter[int] = Counter()
        self.failed: BaseException | None = None
        self._port = port
        self._letters = letters
        self._sender = name

    def run(self) -> None:
        try:
            with closing(lmtp(self._port)) as client:
                while not self.enough.is_set():
                    recipient = f"{self._sender}.{len(self.taken)}@foo.com"
                    mail = self._letters(recipient)
                    while not self._hand_over(client, recipient, mail):
                        pass
                    self.taken.append(recipient)
        except BaseException as error:
            self.failed = error

    def _hand_over(self, client: smtplib.LMTP, recipient: str, mail: str) -> bool:
        try:
            client.sendmail("test@canonical.com", [recipient], mail)
        except smtplib.SMTPDataError as error:
            self.answers[error.smtp_code] += 1
            return False
        except smtplib.SMTPRecipientsRefused as error:
            self.answers[error.recipients[recipient][0]] += 1
            return False
        self.answers[250] += 1
        return True


def heard(servers: Sequence[MailServer], code: int, more: int) -> None:
    """Returns when they have had so many more such answers."""

    def count() -> int:
        return sum(server.answers[code] for server in servers)

    goal = count() + more
    until(lambda: count() >= goal, f"{more} answers {code}")


def test_e2_ingest_answers_451_while_the_broker_is_away_and_each_mail_is_handled_once(
    make: MakePlace, letter: Letters, cluster: Cluster
) -> None:
    port = free_port()
    place = make(
        cluster.bootstrap,
        handlers={"foo": FOO},
        sections={"ingest": {"lmtp": f"127.0.0.1:{port}"}, "log.topics": {"partitions": 2}},
    )
    (broker,) = cluster.brokers
    with (place.folder / "stderr").open("wb") as errors:
        running = subprocess.Popen(place.command("run"), stdin=subprocess.DEVNULL, stderr=errors)
    servers = [MailServer(port, Letters(), f"server{number}") for number in range(3)]
    try:
        for server in servers:
            server.start()
        for _ in range(2):
            heard(servers, 250, 30)
            broker.kill()
            heard(servers, 451, 1)
            broker.start()
        heard(servers, 250, 30)
        for server in servers:
            server.enough.set()
        for server in servers:
            server.join(120)
        taken = sum(len(server.taken) for server in servers)
        # The process that was there all the time goes on by itself.
        until(lambda: len(place.maildir("foo")) >= taken, "all mails to be handled")
        running.terminate()
        assert running.wait(120) == 0
    finally:
        for server in servers:
            server.enough.set()
        running.kill()
        running.wait()
    assert [server.failed for server in servers] == [None] * len(servers)
    assert set(sum((server.answers for server in servers), Counter())) == {250, 451}
    place.drain()
    counts = place.fsck()
    assert {counts[name] for name in ("lost", "doubled", "unknown", "stuck", "on_its_way")} == {0}
    rows = place.outcomes("--all")
    assert Counter(row["recipient"] for row in rows) == Counter(name for server in servers for name in server.taken)
    assert {row["status"] for row in rows} == {"handled"}
    assert len(place.maildir("foo")) == len(rows)
    assert b"Traceback" not in (place.folder / "stderr").read_bytes()
