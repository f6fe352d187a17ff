"""What a handler says, and what becomes of it on the log."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from handlers import Attachment, Refuse, Reply, Retry
from handlers.interface import StrongRequired
from handlers.stage import HandlerStage
from handlers.word import Said
from postroom.archive import ObjectArchive
from postroom.oopses import OopsReports
from streams.faults import Hold, Newer
from streams.judging import Judge
from streams.record import Record
from streams.stage import Again, Failure, Result
from tests.handlers.kit import TOPICS, facts_of_draft, one, outcome_of, outcomes, raw_mail, record_of, routed, written
from topology.records import facts_of

MakeStage = Callable[..., HandlerStage]


class Unauthorised(Exception):
    """The sort of error that a web front end turns into a page and does not report."""


class Bare(Refuse):
    """One that does not call ours."""

    def __init__(self) -> None:
        pass


class BareRetry(Retry):
    """Likewise."""

    def __init__(self) -> None:
        pass


class Titled(Bare):
    """One that has its text by itself."""

    text = "no such bug"


class Ending(Exception):
    """One that ends the program when somebody looks at it."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Shy:
    """A value that does not want to be looked at."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise ValueError("no")


def says(value: Any, *, later: bool = False) -> Callable[[Any], Any]:
    """A handler that returns this, or raises it when it is an exception; True to whoever else is written to. later: as `async def`."""

    def handle(mail: Any) -> Any:
        if mail.recipient != "box@foo.example":
            return True
        if isinstance(value, BaseException):
            raise value
        return value

    async def handle_later(mail: Any) -> Any:
        await asyncio.sleep(0)
        return handle(mail)

    return handle_later if later else handle


WORDS = [
    (None, "handled"),
    (True, "handled"),
    (Reply("done"), "handled"),
    (False, "failed handler-false"),
    (Refuse("no such bug"), "returned refused"),
    (StrongRequired(), "returned strong-required"),
    (Retry(), "again"),
    (Retry(timedelta(minutes=2)), "again"),
    (ValueError("broken"), "failed handler-error"),
    (Unauthorised(), "failed handler-error"),
    (SystemExit(1), "failed handler-error"),
    (KeyboardInterrupt(), "failed handler-error"),
    (GeneratorExit(), "failed handler-error"),
    (asyncio.CancelledError(), "failed handler-error"),
    (TimeoutError(), "failed handler-error"),
    (Hold("the moon", "is away"), "failed handler-error"),
    (1, "failed handler-error"),
    ("yes", "failed handler-error"),
    (Refuse, "failed handler-error"),
    (Bare(), "failed handler-error"),
    (BareRetry(), "failed handler-error"),
    (Titled(), "returned refused"),
    (Ending(), "failed handler-error"),
    (10**5000, "failed handler-error"),
    (Shy(), "failed handler-error"),
    (Reply("x", headers={"To": "everybody@example.org"}), "failed handler-error"),
]


@pytest.mark.parametrize("later", [False, True], ids=["def", "async def"])
@pytest.mark.parametrize(("value", "word"), WORDS, ids=[f"{number}-{type(value).__name__}" for number, (value, _) in enumerate(WORDS)])
def test_each_word_has_its_outcome(stage: MakeStage, value: Any, word: str, later: bool) -> None:
    """Row A9 and DESIGN.md section 5: whatever a handler returns or raises ends as one outcome, and the next mail is handled."""
    results = stage(says(value, later=later)).process([routed(1), routed(2, recipient="next@foo.example")])
    assert outcomes(results) == [word, "handled"]


def test_an_error_is_logged_with_its_traceback_and_reported(stage: MakeStage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Row A8: traceback and mail id in the log, a report under the OOPS id, and the mail for the replyer."""
    record = routed(1)
    (result,) = stage(says(ValueError("broken"))).process([record])
    outcome = outcome_of(result)
    (logged,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert outcome.oops_id in logged.getMessage()
    assert facts_of_draft(written(result, TOPICS.outcomes)[0]).envelope.mail_id in logged.getMessage()
    assert logged.exc_info
    assert isinstance(logged.exc_info[1], ValueError)
    report = OopsReports(tmp_path / "oops").read(outcome.oops_id)
    assert report
    assert "raise value" in report["tb_text"]
    (failure,) = written(result, TOPICS.failures)
    assert failure.value == record.value
    assert failure.key == b"ada@example.org"
    assert outcome.detail == "ValueError: broken"
    assert outcome.attempts == 1


def test_where_the_runtime_itself_raises_the_others_of_the_batch_are_not_called_again(stage: MakeStage) -> None:
    """The runner finds by halves which it is."""
    called: list[str] = []

    async def handle(mail: Any) -> None:
        called.append(mail.recipient)
        if mail.recipient == "3@foo.example":
            for task in asyncio.all_tasks():
                task.cancel()

    made = stage(handle)
    records = [routed(number, recipient=f"{number}@foo.example") for number in range(8)]
    judge = Judge(made, None, lambda: 0)
    results: list[Result] = []
    while len(results) < len(records):
        results += judge.results(records[len(results) :])
    assert {place for place, word in enumerate(outcomes(results)) if word != "handled"} <= {3}
    assert [recipient for recipient in called if recipient != "3@foo.example"] == [f"{n}@foo.example" for n in (0, 1, 2, 4, 5, 6, 7)]


def test_a_refusal_keeps_its_whole_text_and_is_no_error(stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """Row R1: the notice has what the handler wrote, so nothing of it may be cut on the way."""
    text = "There is no such bug. " * 200
    (result,) = stage(says(Refuse(text))).process([routed(1)])
    assert outcome_of(result).detail == text
    assert facts_of_draft(written(result, TOPICS.failures)[0]).outcome == outcome_of(result)
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]


@pytest.mark.parametrize("text", ["", "  ", None, 7])
def test_a_refusal_needs_a_text(text: Any) -> None:
    """A notice without words would help nobody."""
    with pytest.raises(TypeError, match="text"):
        Refuse(text)


@pytest.mark.parametrize("after", [-1, float("inf"), float("nan"), "soon"])
def test_a_retry_needs_a_time_that_is_one(after: Any) -> None:
    """A wrong time is the handler's error at once, not the runner's later."""
    with pytest.raises((ValueError, TypeError)):
        Retry(after)


def test_a_retry_carries_its_time_and_reason(stage: MakeStage) -> None:
    """The runner chooses the retry topic by the time, and the outcome after `give_up` quotes the reason."""
    (result,) = stage(says(Retry(timedelta(minutes=2), "the shop is shut"))).process([routed(1)])
    assert result == Again("the shop is shut", after=120.0)


def test_mails_behind_a_retry_of_their_recipient_follow_and_others_go_on(stage: MakeStage) -> None:
    """Order within a key holds (DESIGN.md section 4), and nobody else waits."""
    called: list[str] = []

    def handle(mail: Any) -> None:
        called.append(mail.message["subject"])
        if mail.message["subject"] == "no. 1":
            raise Retry

    records = [routed(1), routed(2, recipient="other@foo.example"), routed(3), routed(4, recipient="other@foo.example")]
    assert outcomes(stage(handle).process(records)) == ["again", "handled", "follows", "handled"]
    assert called == ["no. 1", "no. 2", "no. 4"]


def test_an_answer_goes_to_the_replyer_with_its_parts(stage: MakeStage) -> None:
    """The outcome names the reply, and mail.answers has its entity, keyed by whom it is for."""
    reply = Reply("Done.", "Bug 7", html="<p>Done.", headers={"X-Bug": "7"}, attachments=[Attachment("log.txt", b"line\n")])
    (result,) = stage(says(reply)).process([routed(1)])
    (answer,) = written(result, TOPICS.answers)
    assert answer.key == b"ada@example.org"
    assert facts_of_draft(answer).outcome == outcome_of(result)
    assert outcome_of(result).reply_id
    for part in (b"Subject: Bug 7", b"X-Bug: 7", b"Done.", b"<p>Done.", b"log.txt"):
        assert part in answer.value


def test_a_long_answer_goes_to_the_archive(stage: MakeStage, tmp_path: Path) -> None:
    """Above the inline limit the record carries a reference only."""
    (result,) = stage(says(Reply("x" * 2000)), inline_limit=1000).process([routed(1)])
    (answer,) = written(result, TOPICS.answers)
    reference = dict(answer.headers)["pr_archived"].decode()
    assert answer.value == b""
    assert (ObjectArchive("file:archive/", tmp_path).get(reference) or b"").count(b"x") > 2000


def test_while_the_archive_is_away_an_answer_waits_and_the_handler_is_not_called_again(stage: MakeStage, tmp_path: Path) -> None:
    """A word that could not be written is kept, so trying to write it costs no further call."""
    calls: list[str] = []

    def handle(mail: Any) -> Reply:
        calls.append(mail.id)
        return Reply("x" * 2000)

    (tmp_path / "archive").write_text("a file where the folder should be")
    made, record = stage(handle, inline_limit=1000), routed(1)
    for _ in range(3):
        with pytest.raises(Hold):
            made.process([record])
    (tmp_path / "archive").unlink()
    assert outcomes(made.process([record])) == ["handled"]
    assert len(calls) == 1


def test_a_mail_in_the_archive_is_read_from_there_and_one_that_is_gone_fails(stage: MakeStage, tmp_path: Path) -> None:
    """`mail-gone` has an OOPS and an empty failures record, and the handler is not called."""
    seen: list[bytes] = []
    made = stage(lambda mail: seen.append(mail.raw))
    raw = raw_mail(1)
    reference = ObjectArchive("file:archive/", tmp_path).put(raw, sha256(raw).hexdigest())
    results = made.process([archived(1, reference), archived(2, "sha256:" + "0" * 64)])
    assert outcomes(results) == ["handled", "failed mail-gone"]
    assert seen == [raw]
    assert outcome_of(results[1]).oops_id
    assert written(results[1], TOPICS.failures)[0].value == b""


def archived(number: int, reference: str) -> Record:
    """A routed record whose mail lives in the archive."""
    facts = facts_of(routed(number))
    return record_of(facts.having(envelope=replace(facts.envelope, archived=reference)), b"", number)


FAILURES = [
    (Failure("crashed"), "failed crashed"),
    (Failure("gave-up", detail="the shop is shut", attempts=9), "failed gave-up"),
    (Failure("timeout", attempts=9), "failed timeout"),
    (Failure("error", ValueError("round the handler")), "failed stage-error"),
]


@pytest.mark.parametrize(("failure", "word"), FAILURES, ids=[word for _, word in FAILURES])
def test_what_the_runner_gives_up_ends_as_its_outcome(stage: MakeStage, failure: Failure, word: str) -> None:
    """Row E4: the mail goes to mail.failures with an OOPS id."""
    record = routed(1)
    result = stage(says(None)).failed(record, failure)
    assert one(result) == word
    assert outcome_of(result).attempts == failure.attempts
    assert written(result, TOPICS.failures)[0].value == record.value


def test_a_record_that_is_no_mail_of_ours_ends_all_the_same(stage: MakeStage) -> None:
    """Whatever a foreign tool put on the topic: process raises, and failed does not."""
    junk = routed(1)._replace(headers=(), value=b"junk")
    made = stage(says(None))
    with pytest.raises(ValueError):
        made.process([junk])
    assert one(made.failed(junk, Failure("error", ValueError("junk")))) == "failed stage-error"


def test_facts_of_a_newer_version_stop_the_role(stage: MakeStage) -> None:
    """Row E9: no outcome is made of what we cannot read."""
    record = routed(1)
    newer = tuple((name, value.replace(b'"version":"1.', b'"version":"9.')) for name, value in record.headers)
    with pytest.raises(Newer):
        stage(says(None)).process([record._replace(headers=newer)])


def test_a_word_survives_its_record() -> None:
    """What mail.db and mail.said keep of a word gives the same word again."""
    reply = Reply("Done \ud800.", "Bug \udcff7", html="<p>", headers={"X-Bug": "7"}, attachments=(Attachment("a.txt", b"\0\xff"),))
    said = Said("handled", reply=reply)
    again = Said.decode(said.encode())
    assert again.reply
    assert (again.reply.text, again.reply.subject) == ("Done ?.", "Bug ?7")
    assert (again.reply.html, again.reply.headers, again.reply.attachments) == (reply.html, reply.headers, reply.attachments)
    failed = Said("failed", "handler-error", "ValueError: x", "0123456789abcdef")
    assert Said.decode(failed.encode()) == failed
