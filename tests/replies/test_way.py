"""The whole way of a reply on a real log: mail.failures -> replyer -> postman -> relay, run by the real runner."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from postroom.postman import Postman
from postroom.relay import Relay
from streams.log import TopicSpec
from streams.record import Record
from streams.retries import RetryPlan
from streams.runner import Options, Runner
from streams.sqlite import SqliteLog
from streams.stage import Stage
from tests.replies.cases import TEN_O_CLOCK, TOPICS, facts
from tests.replies.relays import Moods, free_port, relay
from tests.replies.test_replyer import POLICY, Archive
from topology.facts import ReplyEvent
from topology.records import facts_of, failure_draft, raw_draft
from topology.replies.limits import Limits
from topology.replyer import Replyer

PARTITIONS = 2
_STARTED = time.monotonic()
RETRIES = RetryPlan(tuple(TOPICS.reply_retries()), (0.05, 0.1, 0.2), 60.0)


def _now() -> int:
    """ms since 1970, as if these tests had begun at ten in the morning: the limit counts by UTC days."""
    return TEN_O_CLOCK + round(1000 * (time.monotonic() - _STARTED))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log with the topics of replies."""
    log = SqliteLog(tmp_path / "log.db", clock=lambda: _now() / 1000)
    names = [TOPICS.raw, TOPICS.failures, TOPICS.answers, TOPICS.replies, *TOPICS.reply_retries(), TOPICS.outcomes]
    log.create([TopicSpec(name, PARTITIONS) for name in names])
    for role, stage_topics in (("replyer", [TOPICS.failures, TOPICS.answers]), ("postman", [TOPICS.replies, *RETRIES.topics])):
        log.ensure_group(TOPICS.group(role), stage_topics)
    yield log
    log.close()


def _fail(log: SqliteLog, senders: Sequence[str], first: int = 0) -> None:
    """Mails of these senders that a handler raised on."""
    for number, sender in enumerate(senders, first):
        mail = f"From: {sender}\nMessage-ID: <{number}@x>\nSubject: {number}\n\n{number}\n".encode()
        case = facts(sender=sender, mail=mail)
        (appended,) = log.append([raw_draft(TOPICS, case.envelope, mail)])
        log.append([failure_draft(TOPICS, case.having(raw=appended.position), mail, sender)])


def _postman(log: SqliteLog, url: str) -> Postman:
    group = TOPICS.group("postman")

    def recent(partition: int) -> Iterator[Record]:
        standing = next((s for at, s in log.standings(group, [TOPICS.replies]).items() if at.partition == partition), None)
        return log.read(TOPICS.replies, partition, end=standing.offset if standing else 0)

    return Postman(TOPICS, Relay(url), Archive(), log, limits=Limits(10, 1000), recent=recent, gone="gone\n", clock=_now)


@contextmanager
def _running(log: SqliteLog, stage: Stage, topics: Sequence[str], plan: RetryPlan | None = None) -> Iterator[Runner]:
    runner = Runner(log, TOPICS.group(stage.name), topics, stage, plan, Options(batch=20, clock=_now))
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join()


def _until(condition: Callable[[], bool]) -> None:
    """Waits for what other threads do; the test's own time limit ends it."""
    while not condition():
        threading.Event().wait(0.02)


def _events(log: SqliteLog) -> list[ReplyEvent]:
    return [reply for record in log.read(TOPICS.outcomes) if (reply := facts_of(record).reply)]


def test_replies_wait_for_the_relay_and_each_is_sent_once(log: SqliteLog) -> None:
    """R5: the role holds while nobody listens; a greylisted address waits alone; there is no OOPS about an OOPS."""
    senders = [f"{n}@example.org" for n in range(30)]
    _fail(log, senders)
    port = free_port()
    moods = Moods(rcpt={"7@example.org": "450 4.2.0 greylisted", "8@example.org": "550 5.1.1 no such user"})
    postman = _postman(log, f"smtp://127.0.0.1:{port}")
    replyer = Replyer(TOPICS, POLICY, Archive(), log, 512 * 1024)
    with _running(log, replyer, [TOPICS.failures, TOPICS.answers]), _running(log, postman, [TOPICS.replies], RETRIES) as runner:
        _until(lambda: runner.holding is not None)
        assert _events(log) == []
        with relay(moods, port):
            _until(lambda: len(_events(log)) == 29)
            moods.rcpt.pop("7@example.org")
            _until(lambda: len(_events(log)) == 30)
    assert Counter(event.status for event in _events(log)) == {"sent": 29, "given-up": 1}
    assert sorted(taken.rcpt_to[0] for taken in moods.taken) == sorted(set(senders) - {"8@example.org"})
    (late,) = [event for event in _events(log) if event.to == "7@example.org"]
    assert late.attempts > 1
    assert all(b"message/rfc822" in taken.content for taken in moods.taken)


def test_replies_that_the_relay_took_are_not_sent_again_after_clean_stops(log: SqliteLog) -> None:
    """Two stops while one letter of the batch holds the role; each start knows only what the log says."""
    senders = [f"{n}@example.org" for n in range(10)]
    _fail(log, senders)
    with _running(log, Replyer(TOPICS, POLICY, Archive(), log, 512 * 1024), [TOPICS.failures, TOPICS.answers]):
        _until(lambda: len(list(log.read(TOPICS.replies))) == 10)
    moods = Moods(rcpt={"7@example.org": "421 shutting down"})
    with relay(moods) as port:
        for _ in range(2):
            asked = moods.asked.count("7@example.org")
            with _running(log, _postman(log, f"smtp://127.0.0.1:{port}"), [TOPICS.replies], RETRIES):
                _until(lambda: moods.asked.count("7@example.org") > asked)  # noqa: B023 - called within the round
        moods.rcpt.clear()
        with _running(log, _postman(log, f"smtp://127.0.0.1:{port}"), [TOPICS.replies], RETRIES):
            _until(lambda: len(_events(log)) == 10)
    assert sorted(taken.rcpt_to[0] for taken in moods.taken) == senders
    assert [event.status for event in _events(log)] == ["sent"] * 10


def test_a_storm_of_failures_stays_within_the_limit_over_a_restart(log: SqliteLog) -> None:
    """R3: a loop of two hundred rounds gets ten mails, although the postman is another one half-way."""
    moods = Moods()
    replyer = Replyer(TOPICS, POLICY, Archive(), log, 512 * 1024)
    with relay(moods) as port, _running(log, replyer, [TOPICS.failures, TOPICS.answers]):
        for sent_before in (0, 100):
            _fail(log, ["loop@example.org"] * 100, sent_before)
            with _running(log, _postman(log, f"smtp://127.0.0.1:{port}"), [TOPICS.replies], RETRIES):
                _until(lambda: len(_events(log)) == sent_before + 100)  # noqa: B023 - called within the round
    assert len(moods.taken) == 10
    assert Counter(event.rule for event in _events(log)) == {None: 10, "limit": 190}
