"""The breaker: a handler that fails on everybody alike pauses, and nothing is lost by it."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.breaker import Breaker
from handlers.stage import HandlerStage
from handlers.word import HANDLED, Said
from streams.faults import Hold
from streams.log import TopicSpec
from streams.record import Draft, Record
from streams.retries import RetryPlan
from streams.runner import Options, Runner
from streams.sqlite import SqliteLog
from streams.stage import Again
from tests.handlers.kit import TOPICS, outcomes, routed
from topology.records import facts_of

MakeStage = Callable[..., HandlerStage]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def mails(*numbers: int, senders: int = 5) -> list[Record]:
    """Routed mails of several senders to a mailbox each."""
    return [routed(n, sender=f"{n % senders}@example.org", recipient=f"{n}@foo.example") for n in numbers]


class Shop:
    """A handler that fails while it is shut, always in the same place."""

    def __init__(self) -> None:
        self.open = False
        self.seen: list[str] = []

    def __call__(self, mail: Any) -> None:
        self.seen.append(mail.recipient.partition("@")[0])
        if not self.open:
            raise LookupError(f"the shop is shut for {mail.recipient}")


def failure(fingerprint: str) -> Said:
    return Said("failed", "handler-error", "x", fingerprint)


def hears(words: list[tuple[Any, str]], after: int = 3) -> list[bool]:
    breaker = Breaker("test", after, lambda: 0.0)
    return [breaker.hears(word, sender) for word, sender in words]


A, B = failure("a"), failure("b")


@pytest.mark.parametrize(
    ("words", "pauses"),
    [
        ([(A, "1"), (A, "2"), (A, "3")], True),
        ([(A, "1"), (A, "2"), (A, "2"), (A, "2")], False),  # only the last three count, and they are of one sender
        ([(A, "1"), (A, "1"), (A, "2"), (A, "3")], True),
        ([(A, "1"), (A, "2"), (B, "3"), (A, "4")], False),
        ([(A, "1"), (HANDLED, "2"), (A, "2"), (A, "3")], False),
        ([(A, "1"), (Said("returned", "refused", "no"), "2"), (A, "2"), (A, "3")], False),
        ([(A, "1"), (Again("later"), "9"), (A, "2"), (A, "3")], True),  # who asks for time says nothing either way
        ([(A, "1"), (A, "2")], False),
    ],
)
def test_it_trips_on_the_same_failure_of_several_senders_in_a_row(words: list[tuple[Any, str]], pauses: bool) -> None:
    """pause_after = 3 here; the senders must be three."""
    assert hears(words) == [True] * (len(words) - 1) + [not pauses]


def test_zero_never_pauses() -> None:
    """pause_after = 0."""
    assert all(hears([(A, str(n)) for n in range(100)], after=0))


def test_those_that_failed_have_their_outcomes_and_the_rest_is_not_called(
    stage: MakeStage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty apologies, one alarm, and then silence."""
    shop = Shop()
    made = stage(shop, monotonic=clock)
    results = made.process(mails(*range(50)))
    assert outcomes(results) == ["failed handler-error"] * 20
    assert len(shop.seen) == 20
    alarms = [entry for entry in caplog.records if entry.levelno == logging.ERROR and "pauses" in entry.getMessage()]
    assert len(alarms) == 1
    assert "the shop is shut" in alarms[0].getMessage()
    with pytest.raises(Hold) as held:
        made.process(mails(*range(50, 60)))
    assert held.value.probe_after == 60.0
    assert len(shop.seen) == 20


def test_one_is_tried_each_minute_and_stays_when_it_fails(stage: MakeStage, clock: Clock) -> None:
    """No outcome is written of it. The tries go round, so that one which fails anyway does not keep the pause up."""
    shop = Shop()
    made = stage(shop, monotonic=clock)
    made.process(mails(*range(20)))
    waiting = mails(30, 31, 32)
    for _ in range(5):
        clock.now += 30
        with pytest.raises(Hold):
            made.process(waiting)
    assert shop.seen[20:] == ["30", "31"]
    clock.now += 30
    with pytest.raises(Hold):
        made.process(waiting)
    assert shop.seen[20:] == ["30", "31", "32"]


def test_a_success_ends_the_pause(stage: MakeStage, clock: Clock) -> None:
    """The delivery that was tried is not called twice, and all that waited is handled."""
    shop = Shop()
    made = stage(shop, monotonic=clock)
    made.process(mails(*range(20)))
    shop.open = True
    clock.now += 60
    assert outcomes(made.process(mails(30, 31, 32))) == ["handled"] * 3
    assert shop.seen[20:] == ["30", "31", "32"]


def test_tries_keep_the_order_within_a_recipient(stage: MakeStage, clock: Clock) -> None:
    """Only the first delivery of each key may be tried."""
    shop = Shop()
    made = stage(shop, monotonic=clock)
    made.process(mails(*range(20)))
    waiting = [routed(40, recipient="a@foo.example"), routed(41, recipient="a@foo.example"), routed(42, recipient="b@foo.example")]
    for _ in range(3):
        clock.now += 60
        with pytest.raises(Hold):
            made.process(waiting)
    assert shop.seen[20:] == ["a", "b", "a"]


def test_another_failure_ends_the_pause_too(stage: MakeStage, clock: Clock) -> None:
    """What failed on everybody is over; this one is that mail's own, and has its outcome."""
    shop = Shop()

    def handle(mail: Any) -> None:
        shop(mail)
        raise ValueError("no such goods")

    made = stage(handle, monotonic=clock)
    made.process(mails(*range(20)))
    shop.open = True
    clock.now += 60
    assert outcomes(made.process(mails(30, 31))) == ["failed handler-error"] * 2


def test_false_to_everybody_pauses_as_well(stage: MakeStage, clock: Clock) -> None:
    """It has a fingerprint of its own."""
    made = stage(lambda _mail: False, monotonic=clock)
    assert outcomes(made.process(mails(*range(25)))) == ["failed handler-false"] * 20


# -- on a real log ---------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    opened = SqliteLog(tmp_path / "log.db")
    names = [TOPICS.routed("test"), *TOPICS.retries("test"), TOPICS.outcomes, TOPICS.failures, TOPICS.answers]
    opened.create([TopicSpec(name, 2) for name in names])
    yield opened
    opened.close()


def said(log: SqliteLog) -> list[tuple[str, str]]:
    """Status and recipient of every outcome on the log."""
    found = [facts_of(record).outcome for record in log.read(TOPICS.outcomes)]
    return [(outcome.status, outcome.recipient or "") for outcome in found if outcome]


def test_through_a_pause_every_delivery_has_one_outcome(stage: MakeStage, log: SqliteLog) -> None:
    """The runner writes the twenty, brings the rest again when the handler is mended, and none of them counts as a second try."""
    shop = Shop()
    records = [routed(n, sender=f"{n % 5}@example.org", recipient=f"{n % 30}@foo.example") for n in range(60)]
    log.append([Draft(record.topic, record.key, record.value, record.headers) for record in records])
    plan = RetryPlan(tuple(TOPICS.retries("test")), (0.1, 0.2, 0.3), give_up=0.0)
    runner = Runner(log, "group", [TOPICS.routed("test")], stage(shop, probe_every=0.5), plan, Options(batch=100))
    thread = threading.Thread(target=runner.run)
    thread.start()
    waited = threading.Event()
    try:
        for _ in range(600):
            if runner.holding and not shop.open and (found := said(log)):  # it may pause before what it said is durable
                assert [status for status, _ in found] == ["failed"] * 20
                shop.open = True
            if len(said(log)) == 60:
                break
            waited.wait(0.05)
    finally:
        runner.stop()
        thread.join()
    assert sorted(status for status, _ in said(log)) == ["failed"] * 20 + ["handled"] * 40
    assert len(list(log.read(TOPICS.failures))) == 20
    assert {facts_of(record).outcome.attempts for record in log.read(TOPICS.outcomes)} == {1}  # type: ignore[union-attr]
