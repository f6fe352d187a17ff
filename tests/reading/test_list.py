"""`list`: one row an outcome, its fields, its order, and who is chosen."""

from typing import Any

import orjson
import pytest

from postroom.reading.rows import FIELDS
from streams.record import Draft
from tests.reading.conftest import Postroom
from tests.reading.story import Story
from topology.facts import Replay


def rows(postroom: Postroom, *arguments: str) -> list[dict[str, Any]]:
    """What `list --json` prints."""
    result = postroom("list", "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return [orjson.loads(line) for line in result.stdout.splitlines()]


def numbers(postroom: Postroom, *arguments: str) -> list[int]:
    """The numbers of the mails that `list` prints, by their Message-IDs."""
    return [int(row["message_id"].partition("@")[0]) for row in rows(postroom, *arguments)]


def test_a_row_has_exactly_the_promised_fields_in_their_order(story: Story, postroom: Postroom) -> None:
    facts = story.failed(1, detail="ValueError: no")
    assert facts.outcome
    (row,) = rows(postroom)
    assert tuple(row) == FIELDS
    assert row == {
        "mail_id": facts.envelope.mail_id,
        "delivery_id": facts.outcome.delivery_id,
        "message_id": "1@x",
        "envelope_sender": "test@example.org",
        "sender": "test@example.org",
        "recipient": "1@bugs.example.org",
        "status": "failed",
        "reason": "handler-error",
        "detail": "ValueError: no",
        "handler": "bugs",
        "strength": "weak",
        "account": "sample",
        "oops_id": facts.outcome.oops_id,
        "received_at": "2026-03-01T10:00:00.000Z",
        "decided_at": "2026-03-01T10:00:00.000Z",
        "generation": 0,
        "reply": "waiting",
    }


def test_a_mail_that_ended_whole_has_nulls_where_nothing_is_known(story: Story, postroom: Postroom) -> None:
    story.end(story.screened(story.raw(1, sender=None, recipients=())), "dropped", "precedence")
    (row,) = rows(postroom)
    empty = [name for name, value in row.items() if value is None]
    assert empty == ["envelope_sender", "sender", "recipient", "detail", "handler", "strength", "account", "oops_id", "reply"]


@pytest.mark.parametrize(
    ("status", "rule", "said"),
    [
        ("sent", None, "sent"),
        ("silent", "unknown-sender", "silent:unknown-sender"),
        ("given-up", "550 no such user", "given-up:550 no such user"),
    ],
)
def test_the_reply_is_what_became_of_the_mail_that_we_owe(
    story: Story, postroom: Postroom, status: str, rule: str | None, said: str
) -> None:
    story.replied(story.failed(1), status, rule)
    story.handled(2)
    story.outcome(story.routed(story.authenticated(story.screened(story.raw(3)))), reply_id="0" * 32)
    assert [row["reply"] for row in rows(postroom)] == [said, None, "waiting"]


def test_rows_come_in_the_order_in_which_the_log_took_them(story: Story, postroom: Postroom) -> None:
    for number in range(40):
        story.handled(number, received_at=f"2026-03-01T10:00:{59 - number:02}.000Z", sender=f"a{number}@example.org")
        story.later(1)
    assert numbers(postroom) == list(range(40))
    assert numbers(postroom, "--limit", "3") == [0, 1, 2]
    assert numbers(postroom, "--limit", "0") == []


def test_the_latest_generation_of_each_delivery_is_shown_unless_all_are_asked_for(story: Story, postroom: Postroom) -> None:
    failed = story.failed(1)
    again = failed.having(outcome=None, replay=Replay(3, ("1@bugs.example.org",)))
    story.later(1)
    story.handled(2)
    story.later(1)
    story.outcome(story.routed(again))
    assert [(row["message_id"], row["status"], row["generation"]) for row in rows(postroom)] == [
        ("2@x", "handled", 0),
        ("1@x", "handled", 3),
    ]
    assert [row["generation"] for row in rows(postroom, "--all")] == [0, 0, 3]
    assert [row["status"] for row in rows(postroom, "--generation", "0")] == ["failed", "handled"]


def test_a_replay_that_routes_what_had_ended_whole_replaces_it_for_its_recipients(story: Story, postroom: Postroom) -> None:
    first = story.end(story.screened(story.raw(1)), "dropped", "precedence")
    other = story.end(story.screened(story.raw(1, recipients=("2@bugs.example.org",))), "dropped", "precedence")
    assert first.envelope.mail_id == other.envelope.mail_id
    again = first.having(outcome=None, replay=Replay(1, ("1@bugs.example.org",)))
    story.outcome(story.routed(story.authenticated(story.screened(again))))
    assert sorted((row["status"], row["recipient"]) for row in rows(postroom) if row["recipient"]) == [("handled", "1@bugs.example.org")]
    assert [row["status"] for row in rows(postroom) if not row["recipient"]] == ["dropped"]


def test_a_replay_that_ends_whole_what_had_been_routed_replaces_it(story: Story, postroom: Postroom) -> None:
    again = story.failed(1).having(outcome=None, route=None, replay=Replay(1, ("1@bugs.example.org",)))
    story.end(story.screened(again), "dropped", "loop")
    assert [row["status"] for row in rows(postroom)] == ["dropped"]


# -- selectors --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(story: Story) -> Story:
    """1 handled; 2 failed; 3 dropped, from the null sender; 4 handled, to help, strong; 5 rejected, without envelope sender."""
    story.handled(1)
    story.later(60_000)
    story.failed(2, fingerprint="cafe0123")
    story.later(60_000)
    story.end(story.screened(story.raw(3, sender="")), "dropped", "null-sender")
    story.later(60_000)
    facts = story.authenticated(
        story.screened(story.raw(4, sender="other@example.org")), sender="eve@x.org", strength="strong", account="eve"
    )
    story.outcome(story.routed(facts, "Desk@help.example.org", "help"))
    story.later(60_000)
    facts = story.authenticated(story.screened(story.raw(5, sender=None)), sender="who@x.org", strength="unknown", account=None)
    story.end(facts, "rejected", "unknown-sender", stage="routing", recipient="1@bugs.example.org", delivery_id="5" * 32)
    return story


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["--status", "handled"], [1, 4]),
        (["--status", "failed", "--status", "dropped"], [2, 3]),
        (["--status", "handled", "--handler", "bugs"], [1]),
        (["--reason", "unknown-sender"], [5]),
        (["--handler", "help"], [4]),
        (["--sender", "TEST@example.org"], [1, 2]),
        (["--sender", "eve@x.org"], [4]),
        (["--sender", "other@example.org"], [4]),
        (["--envelope-sender", "eve@x.org"], []),
        (["--sender", ""], [3]),
        (["--sender", "<>"], [3]),
        (["--envelope-sender", "<>"], [3]),
        (["--where", "envelope_sender == null"], [5]),
        (["--recipient", "desk@HELP.example.org"], [4]),
        (["--recipient", "1@bugs.example.org"], [1, 2, 3, 5]),
        (["--domain", "Help.example.org"], [4]),
        (["--account", "sample"], [1, 2]),
        (["--strength", "strong"], [4]),
        (["--strength", "unknown", "--strength", "strong"], [4, 5]),
        (["--message-id", "<4@x>"], [4]),
        (["--message-id", "4@x"], [4]),
        (["--fingerprint", "cafe0123"], [2]),
        (["--since", "2026-03-01T10:01:00Z", "--until", "2026-03-01T11:03:00+01:00"], [2, 3]),
        (["--since", "2026-03-02"], []),
        (["--until", "2026-03-01"], []),
        (["--generation", "0"], [1, 2, 3, 4, 5]),
        (["--generation", "7"], []),
        (["--topic", "mail.raw"], [1, 2, 3, 4, 5]),
        (["--topic", "mail.screened"], []),
        (["--where", 'status == "failed" or strength == "strong"'], [2, 4]),
        (["--status", "handled", "--where", 'not handler == "bugs"'], [4]),
        (["--where", 'domain == "help.example.org" or fingerprint == "cafe0123"'], [2, 4]),
        (["--where", 'topic != "mail.raw" or partition < 0 or offset < 0'], []),
        (["--where", 'domain like "*.example.org" and not (fingerprint != null or offset > 999)'], [1, 4, 5]),
        (["--id", "55555555"], [5]),
    ],
)
def test_selectors_choose(several: Story, postroom: Postroom, arguments: list[str], chosen: list[int]) -> None:
    assert numbers(postroom, *arguments) == chosen


def test_ids_and_positions_choose(several: Story, postroom: Postroom) -> None:
    for number, row in enumerate(rows(postroom), start=1):
        assert numbers(postroom, "--id", row["mail_id"]) == [number]
        assert numbers(postroom, "--id", row["delivery_id"][:8].upper()) == [number]
        if row["oops_id"]:
            assert numbers(postroom, "--oops", row["oops_id"].upper()) == [number]
    facts = several.handled(9)
    assert facts.raw
    place = f"{facts.raw.partition}:{facts.raw.offset}"
    assert numbers(postroom, "--offset-range", place) == [9]
    assert numbers(postroom, "--offset-range", f"{place}-{facts.raw.offset + 5}") == [9]
    assert sorted(numbers(postroom, "--offset-range", "0-99")) == [1, 2, 3, 4, 5, 9]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--status", "done"], "--status: 'done' is not one of handled, dropped, rejected, returned, failed"),
        (["--reason", "why"], "--reason: 'why' is not one of null-sender"),
        (["--strength", "x"], "--strength: 'x' is not one of unknown, weak, strong"),
        (["--sender", "nobody"], "--sender: 'nobody' is no mail address"),
        (["--recipient", "a b@c"], "--recipient: 'a b@c' is no mail address"),
        (["--domain", "a b"], "--domain: 'a b' is no domain"),
        (["--since", "soon"], "--since: 'soon' is no time; write 2026-03-01"),
        (["--until", "2026-13-01"], "--until: '2026-13-01' is no time"),
        (["--id", "xyz"], "--id: 'xyz' is no mail id"),
        (["--offset-range", "a-b"], "--offset-range: 'a-b' should be FIRST-LAST"),
        (["--where", "status = 'x'"], "--where: column 8: write == for equality"),
    ],
)
def test_a_selector_that_cannot_be_understood_is_told_in_one_line(postroom: Postroom, arguments: list[str], words: str) -> None:
    result = postroom("list", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"postroom: {words}")
    assert result.stderr.count("\n") == 1


# -- what is on its way -----------------------------------------------------------------------------------------------------------


def test_pending_mails_have_no_status_and_the_stage_that_they_wait_for(story: Story, postroom: Postroom) -> None:
    story.all_passed()
    story.passed("bounce-filter")
    story.raw(1)
    story.screened(story.raw(2), carried=False)
    story.authenticated(story.screened(story.raw(3)), carried=False)
    waits = story.routed(story.authenticated(story.screened(story.raw(4))), "Desk@help.example.org", "help")
    story.passed("bounce-filter")
    story.handled(6)
    story.raw(7)
    found = rows(postroom, "--pending")
    assert [(row["message_id"], row["detail"]) for row in found] == [
        ("6@x", "bounce-filter"),
        ("7@x", "bounce-filter"),
        ("2@x", "authentication"),
        ("3@x", "routing"),
        ("6@x", "handler:bugs"),
        ("4@x", "handler:help"),
    ]
    assert all(tuple(row) == FIELDS and row["status"] is None for row in found)
    last = found[-1]
    assert waits.route
    assert (last["recipient"], last["handler"], last["delivery_id"]) == ("desk@help.example.org", "help", waits.route.delivery_id)
    assert numbers(postroom, "--pending", "--handler", "help") == [4]


def test_a_delivery_in_a_retry_waits_for_its_handler(story: Story, postroom: Postroom) -> None:
    facts = story.routed(story.authenticated(story.screened(story.raw(1))))
    story.all_passed()
    story.routed(facts, topic=story.topics.retries("bugs")[2])
    (row,) = rows(postroom, "--pending")
    assert (row["detail"], row["message_id"]) == ("handler:bugs", "1@x")


def test_a_bare_record_waits_with_what_its_mail_says(story: Story, postroom: Postroom) -> None:
    story.append(Draft(story.topics.raw, None, b"Return-Path: <a@x.org>\nMessage-ID: <9@x>\n\nhello\n"))
    story.append(Draft(story.topics.raw, None, b"\xff\x00", (("ce_facts", b"{}"),)))
    first, second = sorted(rows(postroom, "--pending"), key=lambda row: row["message_id"] is None)
    assert (first["envelope_sender"], first["message_id"], first["detail"]) == ("a@x.org", "9@x", "bounce-filter")
    assert second["mail_id"]


# -- for people -------------------------------------------------------------------------------------------------------------------


def test_lines_for_people_are_plain_when_piped(several: Story, postroom: Postroom) -> None:
    result = postroom("list")
    assert [line[35:].rstrip() for line in result.stdout.splitlines()] == [
        "✓ handled                    test@example.org → 1@bugs.example.org  bugs  weak",
        "✗ failed   handler-error     test@example.org → 1@bugs.example.org  bugs  weak  waiting",
        "· dropped  null-sender       <> → whole mail",
        "✓ handled                    eve@x.org → desk@help.example.org  help  strong",
        "– rejected unknown-sender    who@x.org → 1@bugs.example.org  unknown",
    ]


def test_the_null_sender_is_told_from_none_at_all(story: Story, postroom: Postroom) -> None:
    for number, sender in enumerate(("", None)):
        story.end(story.screened(story.raw(number, sender=sender)), "dropped", "loop")
    assert [line[64:] for line in postroom("list").stdout.splitlines()] == ["<> → whole mail", "- → whole mail"]


def test_a_log_without_topics_has_nothing_to_list(story: Story, postroom: Postroom) -> None:
    (story.path.parent / "postroom.toml").write_text('[log]\nprefix = "other"\n')
    for command in (["list"], ["list", "--pending"], ["tail"], ["failures"], ["fsck", "--json"]):
        result = postroom(*command)
        assert result.exit_code == 0, result.stderr
