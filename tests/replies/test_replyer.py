"""The replyer on records as the log gives them."""

from hashlib import sha256
from pathlib import Path

import pytest

from streams.faults import Newer
from streams.record import Draft, Position, Record
from streams.stage import Again, Failure
from tests.replies.cases import DECIDED, MAIL, SENDER, TEN_O_CLOCK, TOPICS, Mails, facts, stored
from tests.replies.parse import first_text, must_be_valid
from topology.facts import Facts, ReplyEvent, rfc3339
from topology.records import answer_draft, facts_of, failure_draft
from topology.replies import compose, stow
from topology.replyer import Replyer, ReplyPolicy


class Archive:
    """An archive in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, data: bytes, digest: str, owner: str = "") -> str:
        """See `topology.ports.Archive`."""
        assert sha256(data).hexdigest() == digest
        self.kept[digest] = data
        return digest

    def get(self, reference: str) -> bytes | None:
        """Likewise."""
        return self.kept.get(reference)


POLICY = ReplyPolicy(sender="postroom@example.net", help="https://help.example.org/")


def _replyer(
    mails: Mails | None = None, archive: Archive | None = None, policy: ReplyPolicy = POLICY, inline_limit: int = 512 * 1024
) -> Replyer:
    return Replyer(TOPICS, policy, archive or Archive(), mails or Mails(), inline_limit)


def _failure(case: Facts, mail: bytes = MAIL) -> Record:
    return stored(failure_draft(TOPICS, case, mail, SENDER))


def _answer(case: Facts, text: str = "Done.") -> Record:
    return stored(answer_draft(TOPICS, TOPICS.answers, b"answer", case, compose.answer(case, text), SENDER))


def _only(replyer: Replyer, record: Record) -> Draft:
    (result,) = replyer.process([record])
    assert not isinstance(result, Again)
    (draft,) = result
    return draft


def _event(draft: Draft) -> ReplyEvent:
    assert draft.topic == TOPICS.outcomes
    reply = facts_of(stored(draft)).reply
    assert reply
    return reply


def test_a_failure_becomes_a_finished_mail_without_the_original() -> None:
    """Keyed by the address to be written to, with the facts and the original's position beside it."""
    case = facts()
    draft = _only(_replyer(), _failure(case))
    message = must_be_valid(draft.value)
    assert (draft.topic, draft.key) == (TOPICS.replies, SENDER.encode())
    assert stored(draft).header("pr_original") == b"log/mail.raw/0/0"
    assert facts_of(stored(draft)) == case
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain"]
    assert message["Subject"] == "Re: a bug"
    assert message["In-Reply-To"] == "<1@example.org>"
    assert case.outcome
    assert str(case.outcome.oops_id) in first_text(message)
    assert POLICY.help
    assert POLICY.help in first_text(message)


def test_a_reply_written_again_is_the_same_byte_for_byte() -> None:
    """R2: alone or in a batch, at any time, by another worker."""
    records = [_failure(facts()), _answer(facts("handled", None)), _failure(facts("returned", "refused", detail="no such bug"))]
    mails = Mails(_0=MAIL)
    together = _replyer(mails).process(records)
    assert together == [_replyer(mails).process([record._replace(time=record.time + 999)])[0] for record in records]


def test_the_originals_of_a_batch_are_fetched_with_one_call() -> None:
    """Of answers that are to be written only: failures bring their mail along."""
    mails = Mails(_0=MAIL, _5=MAIL)
    first = facts("handled", None, raw=Position("log", TOPICS.raw, 0, 5))
    silenced = facts("handled", None, silence="list", raw=Position("log", TOPICS.raw, 0, 7))
    _replyer(mails).process([_answer(first), _failure(facts()), _answer(facts("handled", None)), _answer(silenced)])
    assert [[at.offset for at in asked] for asked in mails.asked] == [[0, 5]]


def test_an_answer_gets_its_head_from_the_mail_that_it_answers() -> None:
    """Its words are the handler's, its thread the original's."""
    message = must_be_valid(_only(_replyer(Mails(_0=MAIL)), _answer(facts("handled", None))).value)
    assert (message["Subject"], message["In-Reply-To"]) == ("Re: a bug", "<1@example.org>")
    assert first_text(message) == "Done.\n"


def test_an_answer_to_a_mail_that_is_gone_is_written_all_the_same() -> None:
    """Without a thread."""
    message = must_be_valid(_only(_replyer(), _answer(facts("handled", None))).value)
    assert message["In-Reply-To"] is None
    assert first_text(message) == "Done.\n"


def test_archived_originals_are_read_there() -> None:
    """The record of an archived mail has an empty value."""
    archive = Archive()
    archive.kept["ref"] = MAIL
    for record in (_failure(facts(archived="ref"), b""), _answer(facts("handled", None, archived="ref"))):
        assert must_be_valid(_only(_replyer(archive=archive), record).value)["In-Reply-To"] == "<1@example.org>"


def test_large_messages_go_through_the_archive_both_ways() -> None:
    """Above inline_limit: mail.answers may refer to it, and mail.replies does."""
    archive = Archive()
    case = facts("handled", None)
    answer = answer_draft(TOPICS, TOPICS.answers, b"answer", case, compose.answer(case, "word " * 5000), SENDER)
    given = stored(stow.stowed(answer, archive, 1000))
    assert given.value == b""
    draft = _only(_replyer(archive=archive, inline_limit=1000), given)
    assert draft.value == b""
    message = stow.message_of(stored(draft), archive)
    assert message
    assert first_text(must_be_valid(message)) == "word " * 5000 + "\n"
    archive.kept.clear()
    assert _event(_only(_replyer(archive=archive), given)).rule == "answer-gone"


@pytest.mark.parametrize("status", ["failed", "handled"])
def test_silence_is_an_event_with_its_rule(status: str) -> None:
    """R4: the time is the record's, so the event is the same when written again."""
    case = facts(status, None if status == "handled" else "handler-error", account=None, strength="unknown")  # type: ignore[arg-type]
    record = _answer(case) if status == "handled" else _failure(case)
    event = _event(_only(_replyer(), record))
    assert (event.status, event.rule, event.to, event.at) == ("silent", "unknown-sender", None, rfc3339(TEN_O_CLOCK))
    assert case.outcome
    assert event.reply_id == case.outcome.reply_id
    assert event.kind == ("answer" if status == "handled" else "oops")


def test_anyone_is_answered_where_that_is_set() -> None:
    """The setting that tests of whole programs use."""
    policy = ReplyPolicy(answer="anyone", sender="postroom@example.net")
    message = must_be_valid(_only(_replyer(policy=policy), _failure(facts(account=None, strength="unknown"))).value)
    assert "postmaster@example.net" in first_text(message)


def test_a_fault_about_a_reply_is_given_up_and_makes_no_oops() -> None:
    """Whatever stands in the record; DESIGN.md section 2."""
    record = _failure(facts())
    (draft,) = _replyer().failed(record, Failure("error", ValueError("x"), 2))
    event = _event(draft)
    assert (event.status, event.rule, event.attempts) == ("given-up", "error", 2)
    assert event.at == rfc3339(record.time)
    for junk in (b"", b"{}", b"[]", b"\xff", b'{"version": "1.0", "envelope": {}}', b'{"version": "1.0", "envelope": {"mail_id": 1}}'):
        assert _replyer().failed(Record(TOPICS.failures, 0, 0, 0, None, junk), Failure("crashed")) == []


def test_facts_of_a_newer_version_stop_the_role() -> None:
    """E9: neither a mail nor an event is made of them."""
    record = _failure(facts())
    newer = record._replace(headers=tuple((n, v.replace(b'"version":"1.0"', b'"version":"2.0"')) for n, v in record.headers))
    with pytest.raises(Newer):
        _replyer().process([newer])


@pytest.mark.parametrize(
    "sender", ["", "postroom", "Post Room <a@b.example>", "a@b.example, c@d.example", "j\u00f6rg@example.org", "a@b.example\nBcc: x"]
)
def test_an_address_that_cannot_be_written_from_is_named_at_the_start(sender: str) -> None:
    """By the setting."""
    with pytest.raises(ValueError, match=r"replies\.from"):
        ReplyPolicy(sender=sender)


def test_a_team_s_template_is_used(tmp_path: Path) -> None:
    """Through the policy."""
    from topology.replies.templates import Templates

    (tmp_path / "oops.txt").write_text("Our own words, $oops_id.\n", "utf-8")
    policy = ReplyPolicy(sender="postroom@example.net", templates=Templates(tmp_path))
    assert first_text(must_be_valid(_only(_replyer(policy=policy), _failure(facts())).value)).startswith("Our own words, OOPS-")


def test_the_date_is_when_it_was_decided() -> None:
    """Not when it was written."""
    assert must_be_valid(_only(_replyer(), _failure(facts())).value)["Date"] == "Sun, 01 Mar 2026 10:00:01 +0000"
    assert DECIDED.startswith("2026-03-01T10:00:01")
