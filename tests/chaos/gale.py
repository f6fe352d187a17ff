"""A storm over an installation on Kafka: workers killed and frozen, brokers killed, while mails come in by LMTP and import."""

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient

from tests.broker.broker import Cluster
from tests.chaos.books import Books, balanced
from tests.chaos.crew import PATIENCE, Crew, MailServer, until
from tests.chaos.town import Town, found, mbox
from tests.chaos.watch import Watch
from tests.kafka.conftest import QUICK
from tests.replies.relays import Moods, relay

HANDLERS = ("handler:box", "handler:work")
WORKERS: dict[str, tuple[str, ...]] = {
    "chain-one": ("lmtp", "chain"),
    "chain-two": ("lmtp", "chain"),
    "work-one": HANDLERS,
    "work-two": HANDLERS,
    "replyer": ("replyer",),
    "postman": ("postman",),
}
PREFIX = "gale"
SESSION = 6.0
"""Seconds that a frozen worker keeps its partitions."""
BATCH = 50
"""Replies that the postman has in hand: so many may go out twice when it dies (docs/known-issues.md)."""
AT_END = 900.0
"""Seconds that what is left at the end may take on a machine that is busy with other things."""


class Plan(NamedTuple):
    """How hard it blows. kills: of workers; the import is killed along with some. brokers: kills of a broker. frozen: workers frozen past
    their session."""

    mails: int
    kills: int
    brokers: int
    frozen: int


class Importer(threading.Thread):
    """Imports mailboxes one after the other, each again until it is taken whole: the process may be killed, or the brokers away."""

    def __init__(self, crew: Crew, boxes: list[Path]) -> None:
        super().__init__(name="importer")
        self.begun = 0
        """Mailboxes so far."""
        self.again = 0
        """How often one had to be imported again."""
        self._crew = crew
        self._boxes = boxes

    def run(self) -> None:
        """See the class."""
        for box in self._boxes:
            self.begun += 1
            while (status := self._crew.start("import", "import", str(box)).wait()) != 0:
                assert status in (-signal.SIGKILL, os.EX_TEMPFAIL), self._crew.stderr("import").read_text()[-2000:]
                self.again += 1


class Gale:
    """One installation in one storm. cluster: its brokers, of which those that lead a partition are killed."""

    def __init__(self, folder: Path, chance: random.Random, cluster: Cluster, plan: Plan) -> None:
        self._chance = chance
        self._cluster = cluster
        self._plan = plan
        self._moods = Moods()
        self._folder = folder
        town = Town(chance)
        self._handed_over = [town.letter(chance.choice((1, 1, 2, 3))) for _ in range(plan.mails // 20)]
        self._imported = town.letters(plan.mails - len(self._handed_over))
        self._events = ["kill"] * plan.kills + ["broker"] * plan.brokers + ["freeze"] * plan.frozen
        chance.shuffle(self._events)
        size = -(-len(self._imported) // (len(self._events) + 1))
        parts = [self._imported[at : at + size] for at in range(0, len(self._imported), size)]
        self._boxes = [mbox(folder / f"{number}.mbox", part) for number, part in enumerate(parts)]
        self._killed: Counter[str] = Counter()

    def blow(self) -> str:
        """All of it; what came of it, in a line."""
        began = time.monotonic()
        with relay(self._moods) as port:
            replicas = len(self._cluster.brokers)
            sections: dict[str, dict[str, Any]] = {
                "log": {"prefix": PREFIX, "kafka": QUICK},
                "log.topics": {"partitions": 4, "replication": replicas, "min_insync_replicas": max(1, replicas - 1)},
                "replies": {"smtp": f"smtp://127.0.0.1:{port}"},
            }
            place = found(self._folder, f"kafka://{self._cluster.bootstrap}", **sections)
            place.run("topics", "--create")
            with Crew(place) as crew, closing(Watch(place)) as watch:
                again, refusals = self._storm(crew)
                until(lambda: self._all_at_work(crew) and not watch.behind(watch.served_by([])), "all to be worked off", AT_END)
                crew.stop_all(but="import")
            place.drain()
        written = Counter(self._message_id(taken.content) for taken in self._moods.taken)
        twice = written.total() - len(written)
        assert twice <= BATCH * (self._killed["postman"] + self._plan.brokers + self._plan.frozen)
        books = balanced(place, self._handed_over + self._imported, len(written))
        assert books.crashed <= max(1, self._plan.kills // 20)
        return self._told(time.monotonic() - began, books, again, refusals, twice)

    def _storm(self, crew: Crew) -> tuple[int, set[int]]:
        """How often mails were handed over and mailboxes imported again, and the codes by which servers were told to come again."""
        for name, roles in WORKERS.items():
            crew.start(name, "run", *roles)
        listeners = [name for name, roles in WORKERS.items() if "lmtp" in roles]
        until(lambda: all(map(crew.listens, listeners)), "the listeners")
        server = MailServer(self._handed_over, [crew.socket(name) for name in listeners], random.Random(self._chance.random()))
        importer = Importer(crew, self._boxes)
        server.start()
        importer.start()
        for number, event in enumerate(self._events):
            until(lambda number=number: importer.begun > number, "the next mailbox", AT_END)  # type: ignore[misc]
            time.sleep(self._chance.uniform(0.0, 1.5))
            self._all_at_work(crew)
            getattr(self, f"_{event}")(crew)
        importer.join(AT_END)
        assert not importer.is_alive()
        server.join(PATIENCE)
        server.finish()
        return server.again + importer.again, server.refusals

    @staticmethod
    def _all_at_work(crew: Crew) -> bool:
        """Starts those again that ended because no broker answered when they began, as a service manager does. Whether there were none."""
        fallen = {name: status for name in WORKERS if (status := crew.running[name].poll()) is not None}
        for name, status in fallen.items():
            assert status == os.EX_TEMPFAIL, (name, status, crew.stderr(name).read_text()[-3000:])
            crew.start(name, "run", *WORKERS[name])
        return not fallen

    def _kill(self, crew: Crew) -> None:
        """A worker, which starts again at once or after a while; and now and then the import with it, which is run again."""
        victim = self._chance.choice(list(WORKERS))
        self._killed[victim] += 1
        if self._chance.random() < 1 / 6:
            self._killed["import"] += 1
            crew.running["import"].kill()
        crew.kill(victim)
        time.sleep(self._chance.choice((0.0, 0.0, 2.0)))
        crew.start(victim, "run", *WORKERS[victim])

    def _broker(self, _crew: Crew) -> None:
        """The leader of a partition, which comes back after some seconds."""
        topic = f"{PREFIX}.outcomes"
        leader = (
            AdminClient({"bootstrap.servers": self._cluster.bootstrap}).list_topics(topic, timeout=10).topics[topic].partitions[0].leader
        )
        broker = self._cluster.brokers[leader - 1]  # nodes are counted from 1
        broker.kill()
        time.sleep(self._chance.uniform(0.0, 5.0))
        broker.start()

    def _freeze(self, crew: Crew) -> None:
        """A worker that is then thawed, when others have had its work for a while."""
        victim = self._chance.choice(list(WORKERS))
        crew.running[victim].send_signal(signal.SIGSTOP)
        time.sleep(SESSION + self._chance.uniform(1.0, 4.0))
        crew.running[victim].send_signal(signal.SIGCONT)

    @staticmethod
    def _message_id(content: bytes) -> str:
        return str(BytesHeaderParser().parsebytes(content)["Message-ID"])

    def _told(self, seconds: float, books: Books, again: int, refusals: set[int], twice: int) -> str:
        plan = self._plan
        return (
            f"{plan.kills} kills ({dict(self._killed)}), {plan.brokers} of a broker, {plan.frozen} frozen, in {seconds:.0f} s; "
            f"{again} hand-overs again, refusals {sorted(refusals)}; {twice} replies went out twice; {books}"
        )
