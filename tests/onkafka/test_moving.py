"""A stage moves from the chain to a worker of its own and back while mails come in, with a backlog and with records from outside."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.kafka import KafkaLog
from streams.record import Draft, Record
from tests.acceptance.place import Letters, Place
from tests.onkafka.conftest import MakePlace
from tests.onkafka.waiting import until
from topology import envelope
from topology.facts import Facts, Screening
from topology.head import HeadReader
from topology.records import Topics, fact_draft, raw_draft

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

CALLS = """
import os

def handle(mail):
    with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as file:
        file.write(mail.delivery_id + "\\n")
"""
CHAIN = {"chain": ["bounce-filter", "authentication", "routing"]}
ALL = {"use": "python", "python": "calls:handle", "domains": ["foo.com"], "allow_unknown_senders": True, "pause_after": 0}


@dataclass
class Town:
    """An installation, its log, and what was put there."""

    place: Place
    log: KafkaLog
    topics: Topics
    letters: Letters
    admin: AdminClient
    expected: Counter[str] = field(default_factory=Counter)

    def hand_over(self, count: int, seen: str | None = None) -> None:
        """Mails as ingest writes them, some hundred a transaction. seen: a topic; returns when something of it has come there, which
        may be long before all of it has."""
        before = self.ends(seen) if seen else 0
        drafts = []
        for _ in range(count):
            recipient, made = self._mail("lmtp")
            drafts.append(made)
            self.expected[recipient] += 1
        for first in range(0, count, 500):
            self.log.append(drafts[first : first + 500])
        if seen:
            until(lambda: self.ends(seen) > before, f"something new on {seen}")

    def from_outside(self, count: int) -> None:
        """What other tools write: bare mails on mail.raw; and mails that were screened elsewhere, so that their raw records are marked and
        their records on mail.screened are not."""
        self.log.append([self._bare() for _ in range(count)])
        marked = [self._mail("foreign") for _ in range(count)]
        stored = self.log.append([draft._replace(carried=True) for _, draft in marked])
        screened = []
        for (recipient, draft), appended in zip(marked, stored, strict=True):
            facts = Facts.decode(dict(draft.headers)["ce_facts"])
            facts = facts.having(raw=appended.position, screening=Screening(recipients=facts.envelope.recipients))
            at = appended.position
            id_ = f"{at.partition}-{at.offset}.0.screened"
            screened.append(fact_draft(self.topics, self.topics.screened, b"screened", id_, draft.key, facts, partition=at.partition))
            self.expected[recipient] += 1
        self.log.append(screened)

    def _bare(self) -> Draft:
        recipient, draft = self._mail("foreign")
        self.expected[recipient] += 1
        return Draft(self.topics.raw, None, draft.value)

    def _mail(self, via: str) -> tuple[str, Draft]:
        recipient = f"r{self.letters._number}@foo.com"
        mail = self.letters(recipient, sender=f"s{self.letters._number % 97}@else.org").encode()
        made = envelope.build(
            HeadReader().read(mail),
            sender=f"s{self.letters._number % 97}@else.org",
            recipients=[recipient],
            received_ms=1_772_445_600_000,
            via=via,
            size=len(mail),
            digest=sha256(mail).hexdigest(),
        )
        return recipient, raw_draft(self.topics, made, mail)

    # -- where it has come to

    def ends(self, topic: str) -> int:
        """Offsets of a topic so far."""
        return sum(extent.end for extent in self.log.extents(topic))

    def backlog(self) -> int:
        """Offsets before authentication."""
        topic = self.topics.screened
        standings = self.log.standings(self.topics.group("authentication"), [topic])
        return self.ends(topic) - sum(standing.offset for standing in standings.values())

    def unmarked(self, topic: str) -> list[Record]:
        """The records of a topic that its own group had to work on."""
        return [record for record in self.log.read(topic) if not record.carried]

    def _owns(self, slot: str, group: str) -> bool:
        try:
            members = self.admin.describe_consumer_groups([group])[group].result().members
        except KafkaException:
            return False  # the group is new, and its coordinator not ready
        return any(member.client_id.endswith(f"-{slot}") and member.assignment.topic_partitions for member in members)

    @contextmanager
    def worker(self, slot: str, *roles: str) -> Iterator[None]:
        """A worker, which owns partitions of each of its groups; stopped in good order at the end."""
        with (self.place.folder / f"{slot}.err").open("ab") as errors:
            process = subprocess.Popen(self.place.command("run", *roles, "--slot", slot), stdin=subprocess.DEVNULL, stderr=errors)
        try:
            groups = [self.topics.group(name) for role in roles for name in CHAIN.get(role, [role.replace(":", ".")])]
            until(lambda: all(self._owns(slot, group) for group in groups), f"{slot} to own partitions of {groups}")
            yield
            assert process.poll() is None
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def move_there_and_back(town: Town, step: int) -> None:
    """From the chain to a worker of its own and back: first beside the chain, then without it, with a backlog, then beside it again."""
    topics = town.topics
    routed = topics.routed("all")
    with town.worker("chain", "chain", "handler:all"):
        town.from_outside(step // 20)
        town.hand_over(step, seen=routed)
        with town.worker("alone", "authentication"):
            town.from_outside(step // 20)
            town.hand_over(step, seen=routed)
    # Both stopped in the middle of their work. Now the stages one by one, and authentication not yet.
    with town.worker("before", "bounce-filter"), town.worker("behind", "routing", "handler:all"):
        town.from_outside(step // 20)
        town.hand_over(step, seen=topics.screened)
        assert town.backlog() > 0
        with town.worker("alone", "authentication"), town.worker("chain", "chain"):
            town.hand_over(step, seen=routed)
    # Whatever is left goes through a chain alone.
    town.from_outside(step // 20)
    town.hand_over(step)


def check(town: Town) -> None:
    """No mail twice, none skipped."""
    place = town.place
    place.drain()
    rows = place.outcomes("--all")
    assert Counter(row["recipient"] for row in rows) == town.expected
    assert {row["status"] for row in rows} == {"handled"}
    counts = place.fsck()
    assert counts["raw"] == counts["ended"] == town.expected.total()
    assert {row["behind"] for row in place.lines("lag")} == {0}
    assert town.unmarked(town.topics.authenticated)
    errors = "".join(file.read_text() for file in place.folder.glob("*.err"))
    assert "Traceback" not in errors
    calls = (place.folder / "calls").read_text().split()
    assert len(set(calls)) == town.expected.total()


@pytest.mark.parametrize("mails", [2_000, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_a_stage_moves_there_and_back_and_each_mail_passes_once(
    make: MakePlace, letter: Letters, address: str, admin: AdminClient, mails: int
) -> None:
    place = make(handlers={"all": ALL}, code={"calls.py": CALLS}, sections={"log.topics": {"partitions": 4}})
    topics = Topics(place.lines("topics", "--create")[0]["topic"].removesuffix(".raw"))
    with closing(KafkaLog(address, transactional_prefix=f"postroom.{topics.prefix}", slot="outside")) as log:
        town = Town(place, log, topics, letter, admin)
        move_there_and_back(town, mails // 5)
        check(town)
