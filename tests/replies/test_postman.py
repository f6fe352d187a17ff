"""The postman, with a real Maildir or a real SMTP server behind it."""

import logging
import mailbox
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from itertools import count
from pathlib import Path

import pytest

from postroom.outbox import Maildir, Outbox, Send
from postroom.postman import Postman
from postroom.relay import Relay
from streams.faults import Hold
from streams.record import Draft, Position, Record
from streams.retries import RetryPlan, Waiting
from streams.stage import FOLLOWS, Again, Failure, Result
from tests.replies.cases import MAIL, SENDER, TEN_O_CLOCK, TOPICS, Mails, facts, stored
from tests.replies.parse import first_text, last_part
from tests.replies.relays import Moods, relay
from tests.replies.test_replyer import Archive
from topology.facts import Facts, ReplyEvent, rfc3339
from topology.records import answer_draft, facts_of
from topology.replies import compose, stow
from topology.replies.limits import Limits

NOW = TEN_O_CLOCK + 60_000


class Post:
    """A postman with its surroundings. before: what its partition had in the last day."""

    def __init__(
        self, outbox: Outbox, mails: Mails | None = None, *, a_day: int = 10, an_hour: int = 1000, before: Iterable[Record] = ()
    ) -> None:
        self.mails = mails or Mails(_0=MAIL)
        self.archive = Archive()
        ticks = count(NOW)
        self.postman = Postman(
            TOPICS,
            outbox,
            self.archive,
            self.mails,
            limits=Limits(a_day, an_hour),
            recent=lambda _partition: before,
            gone="It is gone.\n",
            clock=lambda: next(ticks),
        )
        self.postman.assigned(frozenset({0}))

    def deliver(self, *records: Record) -> list[Result]:
        return self.postman.process(records)

    def events(self, *records: Record) -> list[ReplyEvent]:
        return [event_of(result) for result in self.deliver(*records)]


def event_of(result: Result) -> ReplyEvent:
    """The one reply event of a result."""
    assert not isinstance(result, Again)
    (draft,) = result
    reply = facts_of(stored(draft)).reply
    assert reply
    assert draft.topic == TOPICS.outcomes
    return reply


def reply_to(to: str = SENDER, *, offset: int = 0, case: Facts | None = None, text: str = "Sorry.\n", number: int | None = None) -> Record:
    """A record of mail.replies. number: makes the mail, and so the reply's id, another one."""
    mail = MAIL if number is None else MAIL + b"%d\n" % number
    case = case or facts(sender=to, mail=mail)
    entity = compose.answer(case, text) if case.outcome and case.outcome.status == "handled" else compose.notice(case, text)
    return stored(
        answer_draft(TOPICS, TOPICS.replies, b"reply", case, compose.finished(case, "postroom@example.net", MAIL, entity), to), offset
    )


def mails_in(path: Path) -> list[EmailMessage]:
    """The mails in a Maildir."""
    box = mailbox.Maildir(path, create=False)
    return [BytesParser(_class=EmailMessage, policy=default).parsebytes(box.get_bytes(key)) for key in box.keys()]  # noqa: SIM118 - a Maildir is no dict


def test_an_oops_mail_is_sent_with_the_original_behind_it(tmp_path: Path) -> None:
    """A3; the event says when, to whom and which."""
    record = reply_to()
    (event,) = Post(Maildir(tmp_path)).events(record)
    assert (event.status, event.rule, event.to, event.kind, event.at, event.attempts) == ("sent", None, SENDER, "oops", rfc3339(NOW), 1)
    (mail,) = mails_in(tmp_path)
    assert mail["X-Postroom-Reply"] == event.reply_id
    assert first_text(mail) == "Sorry.\n"
    assert last_part(mail).get_content().as_bytes() == MAIL


def test_an_answer_stands_for_itself(tmp_path: Path) -> None:
    """What a handler says goes out as it is, and nothing is fetched for it."""
    post = Post(Maildir(tmp_path))
    (event,) = post.events(reply_to(case=facts("handled", None), text="Done."))
    assert (event.status, event.kind) == ("sent", "answer")
    (mail,) = mails_in(tmp_path)
    assert mail.get_content_type() == "text/plain"
    assert post.mails.asked == []


def test_the_originals_of_a_batch_are_fetched_with_one_call_in_order(tmp_path: Path) -> None:
    """Forward, which is cheap for the log."""
    post = Post(Maildir(tmp_path), Mails(_3=MAIL, _4=MAIL))
    cases = [facts(sender=f"{n}@example.org", mail=MAIL + b"%d" % n, raw=Position("log", TOPICS.raw, 0, n)) for n in (4, 3)]
    post.deliver(*(reply_to(f"{n}@example.org", case=case, offset=n) for n, case in enumerate(cases)))
    assert [[at.offset for at in asked] for asked in post.mails.asked] == [[3, 4]]


@pytest.mark.parametrize("archived", [True, False])
def test_an_original_that_is_gone_is_said_to_be(tmp_path: Path, archived: bool) -> None:
    """Erased or expired since; the mail goes out all the same."""
    (event,) = Post(Maildir(tmp_path), Mails()).events(reply_to(case=facts(archived="erased" if archived else None)))
    assert event.status == "sent"
    assert last_part(mails_in(tmp_path)[0]).get_content() == "It is gone.\n"


@pytest.mark.parametrize(("reason", "octets"), [("too-large", 8192), ("refused", 65536)])
def test_an_original_is_quoted_up_to_a_limit(tmp_path: Path, reason: str, octets: int) -> None:
    """64 KiB; of a mail that was too large 8 KiB (S16). Archived ones come from there."""
    post = Post(Maildir(tmp_path))
    post.archive.kept["ref"] = MAIL + b"more\n" * 20_000
    post.deliver(reply_to(case=facts("returned", reason, archived="ref", size=99_999_999)))
    assert last_part(mails_in(tmp_path)[0])["Content-Description"] == f"The first {octets} of 99999999 octets of your mail"


def test_a_message_that_lives_in_the_archive_is_sent_from_there(tmp_path: Path) -> None:
    """And given up when the archive lost it."""
    post = Post(Maildir(tmp_path))
    record = reply_to()
    large = record._replace(value=b"", headers=(*record.headers, (stow.ARCHIVED, b"ref")))
    assert (post.events(large)[0].status, post.events(large)[0].rule) == ("given-up", "message-gone")
    post.archive.kept["ref"] = record.value
    assert post.events(large)[0].status == "sent"


def test_beyond_the_number_of_a_day_it_is_silent(tmp_path: Path) -> None:
    """R3: a thousand mails that ask for an answer get ten."""
    events = Post(Maildir(tmp_path)).events(*(reply_to(offset=n, number=n) for n in range(1000)))
    assert [(event.status, event.rule) for event in events] == [("sent", None)] * 10 + [("silent", "limit")] * 990
    assert len(mails_in(tmp_path)) == 10


def test_the_next_owner_of_a_partition_counts_what_was_before(tmp_path: Path) -> None:
    """A kill -9 does not begin the day anew."""
    records = [reply_to(offset=n, number=n) for n in range(12)]
    events = Post(Maildir(tmp_path), before=records[:8]).events(*records[8:])
    assert [event.rule for event in events] == [None, None, "limit", "limit"]


def test_the_breaker_stops_everything_and_tells_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, however great the storm."""
    with caplog.at_level(logging.ERROR):
        events = Post(Maildir(tmp_path), an_hour=3).events(*(reply_to(f"{n}@example.org", offset=n) for n in range(20)))
    assert [event.rule for event in events] == [None] * 3 + ["breaker"] * 17
    assert caplog.text.count("max_an_hour") == 1


def test_one_address_that_asks_for_time_waits_and_its_later_mails_follow() -> None:
    """Order within a key holds, and nobody else waits."""
    moods = Moods(rcpt={"bob@example.org": "450 4.2.0 greylisted"})
    with relay(moods) as port:
        post = Post(Relay(f"smtp://127.0.0.1:{port}"))
        tos = ["ann@example.org", "bob@example.org", "bob@example.org", "cid@example.org"]
        results = post.deliver(*(reply_to(to, offset=n, number=n) for n, to in enumerate(tos)))
    assert results[1:3] == [Again("450 4.2.0 greylisted"), FOLLOWS]
    assert [event_of(results[n]).status for n in (0, 3)] == ["sent", "sent"]
    assert [taken.rcpt_to for taken in moods.taken] == [["ann@example.org"], ["cid@example.org"]]


def test_a_retry_counts_its_tries_and_not_against_the_limit(tmp_path: Path) -> None:
    """It was within the limit when it first came."""
    waiting = Waiting(RetryPlan(tuple(TOPICS.reply_retries())))
    first = reply_to(offset=0)
    again = _stored_again(waiting.again(first, Again("450"), TEN_O_CLOCK))
    post = Post(Maildir(tmp_path), a_day=1, before=[reply_to(offset=1)])
    (event,) = post.events(again)
    assert (event.status, event.attempts) == ("sent", 2)


def _stored_again(draft: Draft) -> Record:
    return stored(draft, 7, TEN_O_CLOCK + 86_400_000)


def test_an_address_that_is_refused_is_given_up_with_the_relay_s_word() -> None:
    """No OOPS about an OOPS."""
    with relay(Moods(rcpt={SENDER: "550 5.1.1 no such user"})) as port:
        (event,) = Post(Relay(f"smtp://127.0.0.1:{port}")).events(reply_to())
    assert (event.status, event.rule, event.to) == ("given-up", "550 5.1.1 no such user", SENDER)


@pytest.mark.parametrize(
    ("failure", "rule"),
    [
        (Failure("gave-up", attempts=5, detail="450 4.2.0\r\ngreylisted"), "gave-up 450 4.2.0 greylisted"),
        (Failure("error", ValueError("a secret")), "error"),
        (Failure("crashed"), "crashed"),
    ],
)
def test_what_cannot_be_sent_is_given_up(tmp_path: Path, failure: Failure, rule: str) -> None:
    """Whatever the reason, in one line."""
    event = event_of(Post(Maildir(tmp_path)).postman.failed(reply_to(), failure))
    assert (event.status, event.rule, event.to, event.attempts) == ("given-up", rule, SENDER, failure.attempts)


def test_a_relay_that_leaves_half_way_gets_nothing_twice() -> None:
    """R5: what was sent is told of at once, and the letter that holds comes first when the others come again."""
    moods = Moods(rcpt={"2@example.org": "452 4.3.1 out of space"})
    records = [reply_to(f"{n}@example.org", offset=n, number=n) for n in range(4)]
    with relay(moods) as port:
        post = Post(Relay(f"smtp://127.0.0.1:{port}"))
        events = post.events(*records)
        assert [event.to for event in events] == ["0@example.org", "1@example.org"]
        for _ in range(2):
            with pytest.raises(Hold):
                post.deliver(*records[2:])
        moods.rcpt.clear()
        events += post.events(*records[2:])
    assert [event.status for event in events] == ["sent"] * 4
    assert [taken.rcpt_to[0] for taken in moods.taken] == [f"{n}@example.org" for n in range(4)]


def test_a_batch_of_which_the_commit_failed_is_not_sent_again() -> None:
    """It comes again to this process, and has the same events, with the time at which it was sent."""
    moods = Moods()
    records = [reply_to(f"{n}@example.org", offset=n, number=n) for n in range(4)]
    with relay(moods) as port:
        post = Post(Relay(f"smtp://127.0.0.1:{port}"))
        events = post.events(*records)
        post.postman.revoked(frozenset({0}))
        post.postman.assigned(frozenset({0}))
        assert post.events(*records) == events
    assert [taken.rcpt_to[0] for taken in moods.taken] == [f"{n}@example.org" for n in range(4)]


def test_letters_that_come_again_after_a_hold_are_counted_once() -> None:
    """By address and over all, with what was committed before it counted anew, as the runner has it."""
    moods = Moods(rcpt={"bob@example.org": "452 4.3.1 out of space"})
    tos = ["ann@example.org", "ann@example.org", "bob@example.org", "ann@example.org", "cid@example.org", "dan@example.org"]
    records = [reply_to(to, offset=n, number=n) for n, to in enumerate(tos)]
    passed: list[Record] = []
    with relay(moods) as port:
        post = Post(Relay(f"smtp://127.0.0.1:{port}"), a_day=2, an_hour=4, before=passed)
        events = post.events(*records)
        passed += records[:2]
        for _ in range(2):
            with pytest.raises(Hold):
                post.deliver(*records[2:])
            post.postman.revoked(frozenset({0}))
            post.postman.assigned(frozenset({0}))
        moods.rcpt.clear()
        events += post.events(*records[2:])
    assert [event.rule for event in events] == [None, None, None, "limit", None, "breaker"]


def test_a_letter_that_cannot_be_written_ends_the_batch_before_it(tmp_path: Path) -> None:
    """So the fault is about its record alone, and those before it are told of first."""
    records = [reply_to(offset=n, number=n) for n in range(2)]
    post = Post(Maildir(tmp_path))
    bad = records[1]._replace(value=b"", headers=(*records[1].headers, (stow.ARCHIVED, b"\xff")))
    assert [event.status for event in post.events(records[0], bad)] == ["sent"]
    with pytest.raises(UnicodeDecodeError):
        post.deliver(bad)


class Unmounted(Maildir):
    """A Maildir that goes away before it is left, with what was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.away = path / "new"

    @contextmanager
    def opened(self) -> Iterator[Send]:
        with super().opened() as send:
            yield send
            shutil.rmtree(self.away)


def test_nothing_counts_as_sent_where_the_outbox_cannot_be_left(tmp_path: Path) -> None:
    """What was written is not durable, so it is written again when the outbox is back."""
    post = Post(outbox := Unmounted(tmp_path / "outbox"))
    for _ in range(2):
        with pytest.raises(Hold, match=r"replies\.outbox"):
            post.deliver(reply_to())
    outbox.away = tmp_path / "elsewhere"
    outbox.away.mkdir()
    assert [event.status for event in post.events(reply_to())] == ["sent"]
    assert len(mails_in(tmp_path / "outbox")) == 1


def test_letters_written_before_the_outbox_went_away_are_told_of(tmp_path: Path) -> None:
    """Something stands where the third would be written."""
    records = [reply_to(offset=n, number=n) for n in range(4)]
    outcome = facts_of(records[2]).outcome
    assert outcome
    in_the_way = tmp_path / "tmp" / f"{compose.reply_id_of(facts_of(records[2]), outcome)}.postroom"
    in_the_way.mkdir(parents=True)
    post = Post(Maildir(tmp_path))
    assert [event.status for event in post.events(*records)] == ["sent"] * 2
    with pytest.raises(Hold, match=r"replies\.outbox"):
        post.deliver(*records[2:])
    in_the_way.rmdir()
    assert [event.status for event in post.events(*records[2:])] == ["sent"] * 2


def test_a_crash_between_sending_and_the_commit_repeats_the_same_bytes() -> None:
    """The next worker knows nothing of it; the Message-ID and all else are the same."""
    moods = Moods()
    with relay(moods) as port:
        for _ in range(2):
            Post(Relay(f"smtp://127.0.0.1:{port}")).deliver(reply_to())
    first, second = moods.taken
    assert first == second
