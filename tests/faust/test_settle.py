"""The stage that settles what handlers on Faust said, run by the real runner on the embedded log."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from handlers import Reply
from handlers.said import said_draft, telling
from handlers.settle import Settle
from handlers.testkit import facts as facts_of_mail
from handlers.word import HANDLED, Said
from postroom.archive import ObjectArchive
from postroom.oopses import OopsReports
from postroom.past import passed
from streams.log import TopicSpec
from streams.record import Draft, Record, TopicPartition
from streams.retries import ATTEMPT, RetryPlan
from streams.runner import Runner
from streams.sqlite import SqliteLog
from streams.stage import Again, Failure
from tests.handlers.kit import raw_mail
from topology.facts import Facts
from topology.records import Topics, facts_of, mail_draft
from topology.replies.stow import ARCHIVED, stowed

TOPICS = Topics("mail")
ROUTED, SAID, RETRIES = TOPICS.routed("test"), TOPICS.said("test"), TOPICS.retries("test")
HOUR = 3_600_000


class Site:
    """A log with the topics of a handler, and its stage."""

    def __init__(self, folder: Path) -> None:
        self.log = SqliteLog(folder / "log.db")
        self.log.create([TopicSpec(name, 2) for name in (ROUTED, SAID, *RETRIES, TOPICS.outcomes, TOPICS.failures, TOPICS.answers)])
        self.archive = ObjectArchive("file:archive/", folder)
        self.oopses = OopsReports(folder / "oops")
        self.now = 0
        """ms that the stage's clock is ahead of the log's."""
        self._count = 0

    def stage(self, window: float = 3600.0) -> Settle:
        """A stage as the program makes it."""
        return Settle(
            "test",
            TOPICS,
            self.log,
            self.archive,
            self.oopses,
            self.clock,
            plan=RetryPlan(tuple(RETRIES), give_up=600.0),
            window=window,
            history=lambda partition, window: passed(self.log, "settle", TopicPartition(SAID, partition), window, self.clock()),
        )

    def clock(self) -> int:
        """The log's time, moved on by `now`."""
        return max((record.time for record in self.log.read(SAID)), default=0) + self.now

    def delivery(self, **known: Any) -> Record:
        """A mail on mail.routed.test."""
        self._count += 1
        mail = raw_mail(self._count)
        facts = facts_of_mail(mail, recipient=f"r{self._count}@foo.example", **known)
        assert facts.route
        (stored,) = self.log.append([mail_draft(TOPICS, ROUTED, b"routed", str(self._count), facts.route.recipient, facts, mail)])
        (record,) = self.log.fetch([stored.position])
        assert record
        return record

    def say(self, record: Record, word: Said | Again | Failure) -> None:
        """Puts a word of the handler on mail.said.test."""
        self.log.append([said_draft(TOPICS, "test", record, facts_of(record), telling(word, record, self.log.id, 1_000))])

    def settle(self, stage: Settle | None = None) -> None:
        """Runs the stage until the group stands at the end."""
        runner = Runner(self.log, "settle", [SAID], stage or self.stage())
        thread = threading.Thread(target=runner.run)
        thread.start()
        ends = {(SAID, number): extent.end for number, extent in enumerate(self.log.extents(SAID))}
        try:
            while any(self._standing(at) < end for at, end in ends.items()):
                thread.join(0.01)
                assert thread.is_alive()
        finally:
            runner.stop()
            thread.join()

    def _standing(self, at: tuple[str, int]) -> int:
        standings = self.log.standings("settle", [SAID])
        return next((standing.offset for place, standing in standings.items() if tuple(place) == at), 0)

    def outcomes(self) -> list[tuple[str, str | None, int]]:
        """Status, reason and attempts of every outcome."""
        found = [facts_of(record).outcome for record in self.log.read(TOPICS.outcomes)]
        return [(outcome.status, outcome.reason, outcome.attempts) for outcome in found if outcome]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with closing(made.log):
        yield made


def test_the_first_word_of_each_try_counts(site: Site) -> None:
    """However often and however differently it is told again, by a worker that died and the next one."""
    record = site.delivery()
    for word in (HANDLED, Said("failed", "handler-false", "no"), HANDLED):
        site.say(record, word)
    site.settle()
    assert site.outcomes() == [("handled", None, 1)]
    site.say(record, Again("later"))
    site.settle()  # another worker, which knows it from the log alone
    assert site.outcomes() == [("handled", None, 1)]
    assert not list(site.log.read(RETRIES[0]))


def test_a_try_beyond_the_window_is_not_known_any_more(site: Site) -> None:
    """As it is with repeats: the window bounds the memory."""
    record = site.delivery()
    site.say(record, HANDLED)
    site.settle(site.stage(0.05))
    time.sleep(0.1)
    site.say(record, HANDLED)
    site.settle(site.stage(0.05))
    assert len(site.outcomes()) == 2


def test_a_try_within_the_window_is_known_however_late_it_is_settled(site: Site) -> None:
    """The window is one of the topic's own time, and ends where the group stands."""
    record = site.delivery()
    site.say(record, HANDLED)
    site.settle()
    site.say(record, HANDLED)
    site.now = 2 * HOUR
    site.settle()
    assert len(site.outcomes()) == 1


def test_what_is_still_to_be_settled_does_not_push_out_what_comes_before_it(site: Site) -> None:
    record = site.delivery()
    for _ in range(2):
        site.say(record, HANDLED)
    time.sleep(0.2)
    for _ in range(8):  # some are of the same partition
        site.say(site.delivery(), HANDLED)
    site.settle(site.stage(0.15))
    assert len(site.outcomes()) == 9


def test_another_generation_and_another_try_are_words_of_their_own(site: Site) -> None:
    record = site.delivery()
    site.say(record, Again("later"))
    site.settle()
    (waiting,) = site.log.read(RETRIES[0])
    assert waiting.header(ATTEMPT) == b"1"
    assert waiting.value == record.value
    site.say(waiting, HANDLED)
    site.say(site.delivery(generation=2), HANDLED)
    site.settle()
    assert site.outcomes() == [("handled", None, 2), ("handled", None, 1)]


def test_who_asks_for_time_too_long_has_failed(site: Site) -> None:
    for word in (Again("never"), Again("slow", timeout=True)):
        site.say(site.delivery(), word)
    site.now = 600_001
    site.settle()
    assert sorted(site.outcomes()) == [("failed", "gave-up", 1), ("failed", "timeout", 1)]
    assert len(list(site.log.read(TOPICS.failures))) == 2


def test_a_failure_carries_the_mail_and_an_answer_does_not(site: Site) -> None:
    returned, failed, answered = site.delivery(), site.delivery(), site.delivery()
    site.say(returned, Said("returned", "refused", "no such bug"))
    site.say(failed, Said("failed", "handler-error", "RuntimeError: x", "00", error=RuntimeError("x")))
    site.say(answered, Said("handled", reply=Reply("thank you")))
    site.settle()
    assert {record.value for record in site.log.read(TOPICS.failures)} == {returned.value, failed.value}
    (answer,) = site.log.read(TOPICS.answers)
    assert b"thank you" in answer.value
    oops = next(outcome.oops_id for record in site.log.read(TOPICS.outcomes) if (outcome := facts_of(record).outcome) and outcome.oops_id)
    report = site.oopses.read(oops)
    assert report
    assert "RuntimeError: x" in report["tb_text"]


def test_a_mail_that_expired_meanwhile_is_gone_where_its_failure_would_carry_it(site: Site) -> None:
    record = site.delivery()
    site.say(record._replace(offset=record.offset + 1000), Said("failed", "handler-false", "no"))
    site.say(site.delivery()._replace(topic="mail.routed.other"), HANDLED)
    site.settle()
    assert sorted(site.outcomes()) == [("failed", "mail-gone", 1), ("handled", None, 1)]
    assert [record.value for record in site.log.read(TOPICS.failures)] == [b""]


@pytest.mark.parametrize("spoil", [lambda _value: b"junk", lambda _value: b"{}", lambda value: value.replace(b'"said"', b'"odd"')])
def test_a_word_that_cannot_be_read_ends_as_a_failure_and_the_rest_goes_on(site: Site, spoil: Callable[[bytes], bytes]) -> None:
    record = site.delivery()
    draft = said_draft(TOPICS, "test", record, facts_of(record), telling(HANDLED, record, site.log.id, 1_000))
    site.log.append([draft._replace(value=spoil(draft.value)), draft])
    site.say(site.delivery(), HANDLED)
    site.settle()
    assert sorted(site.outcomes()) == [("failed", "stage-error", 1), ("handled", None, 1)]


def test_a_record_of_another_program_harms_nobody(site: Site) -> None:
    site.log.append([Draft(SAID, None, b"\x00junk")])
    site.say(site.delivery(), HANDLED)
    site.settle()
    assert sorted(site.outcomes()) == [("failed", "stage-error", 1), ("handled", None, 1)]


def test_a_word_in_the_archive_is_fetched_and_one_that_is_gone_there_is_a_failure(site: Site) -> None:
    for there in (True, False):
        record = site.delivery()
        told = telling(Said("handled", reply=Reply("thank you")), record, site.log.id, 1_000)
        draft = stowed(said_draft(TOPICS, "test", record, facts_of(record), told), site.archive, 10)
        if not there:
            draft = draft._replace(headers=(*draft.headers[:-1], (ARCHIVED, b"sha256:" + b"0" * 64)))
        site.log.append([draft])
    site.settle()
    assert sorted(site.outcomes()) == [("failed", "stage-error", 1), ("handled", None, 1)]


def test_what_went_wrong_round_the_handler_is_not_the_handlers_word(site: Site) -> None:
    for failure in (Failure("crashed"), Failure("error", KeyError("odd"))):
        site.say(site.delivery(), failure)
    site.settle()
    assert sorted(site.outcomes()) == [("failed", "crashed", 1), ("failed", "stage-error", 1)]
    facts: list[Facts] = [facts_of(record) for record in site.log.read(TOPICS.outcomes)]
    assert {facts.outcome.stage for facts in facts if facts.outcome} == {"handler:test"}
