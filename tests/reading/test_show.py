"""`show`: a mail by any of its ids, its story, its documents and its bytes."""

from io import StringIO
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from postroom.printable import safe
from postroom.reading.draw import as_renderable
from postroom.reading.gathering import gather
from postroom.reading.timeline import passed
from postroom.reading.timeline import story as story_of
from postroom.site import Site
from streams.record import Draft
from tests.reading.conftest import Postroom
from tests.reading.story import Story
from topology.facts import Facts, Replay
from topology.records import FACTS, mail_draft

SIGNED = {
    "form": "clear",
    "signatures": [
        {"verdict": "good", "fingerprint": "ABCD" * 10, "created_at": "2026-03-01T09:59:00.000Z", "engine": "sequoia", "reason": ""}
    ],
}


def ids_of(facts: Facts) -> list[str]:
    """Every id by which people may ask for a mail."""
    assert facts.outcome
    mail, delivery = facts.envelope.mail_id, facts.outcome.delivery_id
    message = str(facts.envelope.message_id)
    found = [mail, mail.upper(), mail[:8], mail[:20], delivery, delivery[:8], f"<{message}>", message]
    return [*found, facts.outcome.oops_id] if facts.outcome.oops_id else found


def test_a_mail_is_found_by_every_one_of_its_ids(story: Story, postroom: Postroom) -> None:
    for number in range(20):
        story.handled(number)
    ended = story.failed(21)
    dropped = story.end(story.screened(story.raw(22)), "dropped", "loop")
    for facts in (ended, dropped):
        for id_ in ids_of(facts):
            result = postroom("show", "--json", id_)
            assert result.exit_code == 0, (id_, result.stderr)
            assert orjson.loads(result.stdout)["mail_id"] == facts.envelope.mail_id


def test_a_mail_that_waits_is_found_by_its_ids_wherever_it_waits(story: Story, postroom: Postroom) -> None:
    story.all_passed()
    retried = story.routed(story.authenticated(story.screened(story.raw(4))))
    story.passed("bugs")
    story.routed(retried, topic=story.topics.retries("bugs")[0])
    routed = story.routed(story.authenticated(story.screened(story.raw(3))))
    screened = story.screened(story.raw(2), carried=False)
    story.passed("bounce-filter")
    raw = story.raw(1)
    for facts, stage in ((raw, "bounce-filter"), (screened, "authentication"), (routed, "handler:bugs"), (retried, "handler:bugs")):
        ids = [facts.envelope.mail_id, facts.envelope.mail_id[:8], str(facts.envelope.message_id)]
        for id_ in [*ids, facts.route.delivery_id] if facts.route else ids:
            result = postroom("show", id_)
            assert result.exit_code == 0, (id_, result.stderr)
            assert f"waits for {stage}" in result.stdout
        document = orjson.loads(postroom("show", "--json", facts.envelope.mail_id).stdout)
        assert [facts.get("outcome") for facts in document["facts"]] == [None]


def test_what_is_not_there_is_told_with_status_1_and_what_is_unclear_with_2(story: Story, postroom: Postroom) -> None:
    story.handled(1, message_id="same@x")
    story.handled(2, message_id="same@x")
    for id_ in ("0" * 32, "12345678", "OOPS-" + "0" * 32, "nobody@x"):
        result = postroom("show", id_)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"postroom: no mail on the log has the id {id_}\n"
    result = postroom("show", "123")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "postroom: no mail on the log has the id 123; of a mail id or delivery id give at least 8 digits\n"
    result = postroom("show", "same@x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("postroom: same@x could be any of several mails: ")


# -- the story --------------------------------------------------------------------------------------------------------------------


def a_long_life(story: Story) -> Facts:
    """A mail to two addresses, one handled at the third try, one failed, replayed and handled; handed over twice."""
    both = ("a@bugs.example.org", "b@help.example.org")
    raw = story.raw(1, recipients=both, received_at="2026-03-01T09:59:58.000Z")
    story.later(12)
    facts = story.screened(raw, silence="list", warnings=("suspicious-date",))
    facts = story.authenticated(facts, account_name="Sample Person", reason="no trusted signature", openpgp=SIGNED)
    first = story.routed(facts, both[0])
    second = story.routed(facts, both[1], "help")
    story.later(8)
    failed = story.outcome(second, "failed", "handler-error", detail="ValueError: no", fingerprint="cafe", attempts=1)
    retry = story.topics.retries("bugs")[0]
    story.append(mail_draft(story.topics, retry, b"routed", "x", both[0], first, b"mail", headers=(("pr_attempt", b"1"),)))
    story.later(30_000)
    story.outcome(first, attempts=2)
    story.replied(failed, "silent", "list")
    story.later(90_000)
    story.repeated(story.raw(1, recipients=both, repeat=True), raw)
    story.later(86_400_000)
    again = story.routed(second.having(replay=Replay(3, (both[1],))), both[1], "help")
    story.outcome(again)
    story.all_passed()
    return raw


def test_the_story_of_a_mail_as_text(story: Story, postroom: Postroom) -> None:
    facts = a_long_life(story)
    for number in range(2, 6):
        story.handled(number)
    told = postroom("show", facts.envelope.mail_id).stdout
    assert told == (Path(__file__).parent / "story.txt").read_text(encoding="utf-8")


def test_the_story_tells_why_a_mail_ended_where_it_did(story: Story, postroom: Postroom) -> None:
    dropped = story.screened(story.raw(1), rule="precedence", field="Precedence: bulk")
    story.end(dropped, "dropped", "precedence", detail="Precedence: bulk")
    facts = story.end(dropped, "dropped", "precedence", detail="Precedence: bulk")
    told = postroom("show", facts.envelope.mail_id).stdout
    assert "bounce filter  rule precedence fired on Precedence: bulk\n" in told
    assert "bounce filter  · dropped, precedence\n" in told


@pytest.mark.parametrize(
    ("status", "words"),
    [("sent", "sent: answer of the handler to test@example.org"), ("silent", "silent: no answer of the handler, by the rule replay")],
)
def test_the_story_tells_what_became_of_an_answer(story: Story, postroom: Postroom, status: str, words: str) -> None:
    facts = story.failed(1)  # owes a reply
    story.replied(facts, status, "replay" if status == "silent" else None, "answer")
    assert words in postroom("show", facts.envelope.mail_id).stdout


def test_the_story_tells_what_was_looked_up(story: Story, postroom: Postroom) -> None:
    dkim = {"domain": "example.org", "selector": "mail", "result": "fail", "reason": "the body was changed"}
    facts = story.authenticated(
        story.screened(story.raw(1)),
        reason="the body was changed",
        account_active=False,
        account_requires_strong=True,
        dkim=(dkim,),
        dns={"mail._domainkey.example.org": "v=DKIM1; p=" + "A" * 100, "gone.example.org": None},
        results={"field": "mx.example.org; dkim=pass", "reason": ""},
    )
    facts = story.end(facts, "failed", "stage-error", stage="routing")
    told = postroom("show", facts.envelope.mail_id).stdout
    for words in (
        "why not stronger: the body was changed",
        "the account is not active",
        "the account demands strong proof",
        "DKIM of example.org, selector mail: fail\n",
        f"looked up mail._domainkey.example.org: v=DKIM1; p={'A' * 49}…",
        "looked up gone.example.org: no such name",
        "Authentication-Results: mx.example.org; dkim=pass",
        "reply           waiting to be written or sent",
    ):
        assert words in told


def test_a_terminal_shows_the_story_wrapped_within_its_columns(story: Story) -> None:
    mail = gather(story.log, story.topics, a_long_life(story).envelope.mail_id)
    assert mail
    console = Console(width=100, force_terminal=True, color_system="standard", record=True, file=StringIO())
    console.print(as_renderable(story_of(mail)))
    shown = console.export_text(styles=False)
    assert max(map(len, shown.splitlines())) <= 100
    assert "✓ handled" in shown
    assert "[/]" not in shown


HOSTILE = "\x1b[2J\x1b]0;owned\x07 [bold red]x[/] \u202egnp.exe \x9b31m \r\nover\x00 \ud800".encode("utf-8", "replace").decode()


def test_nothing_in_a_mail_can_move_the_cursor_or_change_colours(story: Story, postroom: Postroom) -> None:
    raw = story.raw(1, sender=HOSTILE, recipients=(HOSTILE,), message_id=HOSTILE)
    facts = story.screened(raw, subject=HOSTILE, field=HOSTILE, rule="loop", silence=HOSTILE)
    facts = story.authenticated(facts, sender=HOSTILE, account=HOSTILE, account_name=HOSTILE, reason=HOSTILE, dns={HOSTILE: HOSTILE})
    facts = story.end(facts, "failed", "stage-error", stage="routing", detail=HOSTILE, recipient=HOSTILE, fingerprint=HOSTILE)
    story.replied(facts, "given-up", HOSTILE)
    outputs = [postroom(*command).stdout for command in (["list"], ["tail"], ["failures"], ["show", facts.envelope.mail_id])]
    mail = gather(story.log, story.topics, facts.envelope.mail_id)
    assert mail
    console = Console(width=200, force_terminal=True, color_system=None, file=StringIO(), record=True)
    console.print(as_renderable(story_of(mail)))
    for output in [*outputs, console.export_text()]:
        assert "[bold red]x[/]" in output
        assert all(char.isprintable() or char == "\n" for char in output)
        assert "\\x1b[2J" in output


def test_safe_leaves_what_people_write_as_it_is() -> None:
    for text in ("Grüße an Zoë", "日本語の件名", "a [b] c", "✓ 100 %", ""):
        assert safe(text) == text
    assert safe("a\u00a0b\u2028c\u200bd") == "a b\\u2028c\\u200bd"


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "+0 ms"),
        (999, "+999 ms"),
        (-5, "-5 ms"),
        (1000, "+1.0 s"),
        (59_949, "+59.9 s"),
        (61_000, "+1 min 1 s"),
        (3_600_000, "+1 h 0 min"),
        (90_000_000, "+1 d 1 h"),
    ],
)
def test_a_stretch_of_time_is_told_as_people_say_it(ms: int, words: str) -> None:
    assert passed(ms) == words


# -- documents and bytes ----------------------------------------------------------------------------------------------------------


def test_the_json_has_the_facts_of_each_delivery_and_every_record(story: Story, postroom: Postroom) -> None:
    facts = a_long_life(story)
    document = orjson.loads(postroom("show", "--json", facts.envelope.mail_id).stdout)
    assert list(document) == ["mail_id", "warnings", "facts", "records"]
    assert document["warnings"] == ["suspicious-date"]
    ends = [(part["route"]["recipient"], part["outcome"]["status"], "replay" in part) for part in document["facts"]]
    assert ends == [("a@bugs.example.org", "handled", False), ("b@help.example.org", "handled", True)]
    assert [(record["topic"], record["type"]) for record in document["records"]] == [
        ("mail.raw", "postroom.raw"),
        ("mail.screened", "postroom.screened"),
        ("mail.authenticated", "postroom.authenticated"),
        ("mail.routed.bugs", "postroom.routed"),
        ("mail.routed.help", "postroom.routed"),
        ("mail.retry.bugs.1", "postroom.routed"),
        ("mail.outcomes", "postroom.outcome"),
        ("mail.failures", "postroom.failure"),
        ("mail.outcomes", "postroom.outcome"),
        ("mail.outcomes", "postroom.reply"),
        ("mail.raw", "postroom.raw"),
        ("mail.screened", "postroom.screened"),
        ("mail.outcomes", "postroom.repeated"),
        ("mail.routed.help", "postroom.routed"),
        ("mail.outcomes", "postroom.outcome"),
    ]
    first = document["records"][0]
    assert list(first) == ["topic", "partition", "offset", "time", "type", "key"]
    assert (first["time"], first["key"]) == ("2026-03-01T10:00:00.000Z", "test@example.org")


def test_raw_gives_the_bytes_as_received(story: Story, postroom: Postroom) -> None:
    facts = story.handled(1)
    result = postroom("show", "--raw", facts.envelope.mail_id)
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, story.mails[facts.envelope.mail_id], "")


def test_raw_gives_a_foreign_record_byte_for_byte(story: Story, postroom: Postroom) -> None:
    story.append(Draft(story.topics.raw, None, b"Message-ID: <f@x>\r\n\r\n\x00\xff\r\n"))
    assert postroom("show", "--raw", "f@x").stdout_bytes == b"Message-ID: <f@x>\r\n\r\n\x00\xff\r\n"


def test_raw_gives_an_archived_mail_and_says_when_it_is_gone(story: Story, postroom: Postroom) -> None:
    site = Site.at(story.path.parent / "postroom.toml")
    facts = story.raw(1)
    mail = story.mails[facts.envelope.mail_id]
    reference = site.archive.put(mail, facts.envelope.digest)
    kept = story.end(story.screened(story.raw(2, archived=reference)), "dropped", "loop")
    result = postroom("show", "--raw", kept.envelope.mail_id)
    assert result.stdout_bytes == mail
    gone = story.raw(3, archived=reference.replace(reference[-8:], "0" * 8))
    result = postroom("show", "--raw", gone.envelope.mail_id)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert result.stderr.startswith(f"postroom: mail {gone.envelope.mail_id} is gone: the archive no longer has")


def test_raw_of_a_mail_that_was_too_large_gives_its_beginning_with_a_warning(story: Story, postroom: Postroom) -> None:
    facts = story.raw(1, truncated=True, size=10_000_000_000)
    result = postroom("show", "--raw", facts.envelope.mail_id)
    assert result.stdout_bytes == story.mails[facts.envelope.mail_id]
    assert result.stderr == "postroom: only the first 48 of 10,000,000,000 octets were kept: the mail is too large\n"


def test_a_mail_whose_raw_record_is_gone_still_has_its_story(story: Story, postroom: Postroom) -> None:
    from tests.reading.test_fsck import delete

    facts = story.failed(1)
    delete(story, story.topics.raw)
    result = postroom("show", "--raw", facts.envelope.mail_id)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert result.stderr == f"postroom: mail {facts.envelope.mail_id} is gone: it was erased, or is older than what the log keeps\n"
    assert "✗ failed, handler-error" in postroom("show", facts.envelope.mail_id).stdout


def test_facts_in_a_header_count_as_in_a_value(story: Story) -> None:
    facts = story.routed(story.authenticated(story.screened(story.raw(1))))
    (record,) = story.log.read(story.topics.routed("bugs"))
    assert record.header(FACTS) == facts.encode()
