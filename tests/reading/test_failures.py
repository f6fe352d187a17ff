"""`failures` groups by cause, `oops` shows a report with what became of its mail."""

import orjson
import pytest

from postroom.site import Site
from tests.reading.conftest import Postroom
from tests.reading.story import Story
from topology.facts import Facts, Replay


def test_failures_are_grouped_by_their_cause_the_most_frequent_first(story: Story, postroom: Postroom) -> None:
    story.handled(1)
    story.failed(2, fingerprint="aaaa", detail="ValueError: 2")
    story.later(1000)
    story.failed(3, "timeout")
    story.later(1000)
    last = story.failed(4, fingerprint="aaaa", detail="ValueError: 4")
    story.end(story.screened(story.raw(5)), "dropped", "loop")
    groups = [orjson.loads(line) for line in postroom("failures", "--json").stdout.splitlines()]
    assert [(group["reason"], group["fingerprint"], group["handler"], group["count"]) for group in groups] == [
        ("handler-error", "aaaa", "bugs", 2),
        ("timeout", None, "bugs", 1),
    ]
    assert last.outcome
    assert groups[0] == {
        "reason": "handler-error",
        "fingerprint": "aaaa",
        "handler": "bugs",
        "count": 2,
        "resolved": 0,
        "replays": [],
        "first_seen": "2026-03-01T10:00:00.000Z",
        "last_seen": "2026-03-01T10:00:02.000Z",
        "mail_id": last.envelope.mail_id,
        "oops_id": last.outcome.oops_id,
        "detail": "ValueError: 4",
    }


def test_what_a_replay_has_handled_is_no_failure_any_more(story: Story, postroom: Postroom) -> None:
    failed = story.failed(1, fingerprint="aaaa")
    assert "aaaa" in postroom("failures").stdout
    story.outcome(failed.having(outcome=None, replay=Replay(1, ("1@bugs.example.org",))))
    assert postroom("failures").stdout == ""


def groups(postroom: Postroom, *args: str) -> list[tuple[str, int, int, list[int]]]:
    """Fingerprint, how many stand, how many are settled, and by which replays."""
    lines = [orjson.loads(line) for line in postroom("failures", "--json", *args).stdout.splitlines()]
    return [(line["fingerprint"], line["count"], line["resolved"], line["replays"]) for line in lines]


def test_what_replays_have_settled_is_told_by_its_cause(story: Story, postroom: Postroom) -> None:
    """One is handled by replay 1; one failed in it in another way, and is handled by replay 3; one still stands."""
    first, second, _ = (story.failed(number, fingerprint="aaaa") for number in (1, 2, 3))
    story.failed(4, fingerprint="cccc")

    def again(facts: Facts, generation: int) -> Facts:
        return facts.having(outcome=None, replay=Replay(generation, (str(facts.route and facts.route.recipient),)))

    story.outcome(again(first, 1))
    story.outcome(again(second, 1), "failed", "handler-error", fingerprint="bbbb")
    assert groups(postroom, "--resolved") == [("aaaa", 1, 1, [1])]
    story.outcome(again(second, 3))
    assert groups(postroom) == [("aaaa", 1, 1, [1]), ("cccc", 1, 0, [])]
    assert groups(postroom, "--resolved") == [("aaaa", 1, 1, [1]), ("bbbb", 0, 1, [3])]
    assert "1 settled since, by replay 1" in postroom("failures", "--resolved").stdout


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_times_and_example_are_of_what_stands_and_of_settled_ones_only_where_nothing_does(
    story: Story, postroom: Postroom, settled: int
) -> None:
    """Three fail alike, a second apart; one of them, and then the others, are handled by replays."""
    failed = []
    for number in range(3):
        failed.append(story.failed(number, fingerprint="aaaa", detail=f"ValueError: {number}"))
        story.later(1000)

    def handled(facts: Facts) -> None:
        story.outcome(facts.having(outcome=None, replay=Replay(1, (str(facts.route and facts.route.recipient),))))

    def told(first: int, last: int, *args: str) -> bool:
        (group,) = (orjson.loads(line) for line in postroom("failures", "--json", *args).stdout.splitlines())
        example, outcome = failed[last], failed[last].outcome
        assert outcome
        return (group["first_seen"], group["last_seen"], group["mail_id"], group["oops_id"], group["detail"]) == (
            f"2026-03-01T10:00:0{first}.000Z",
            f"2026-03-01T10:00:0{last}.000Z",
            example.envelope.mail_id,
            outcome.oops_id,
            outcome.detail,
        )

    handled(failed[settled])
    left = [number for number in range(3) if number != settled]
    assert told(left[0], left[1])
    assert told(left[0], left[1], "--resolved")
    for number in left:
        handled(failed[number])
    assert postroom("failures").stdout == ""
    assert told(0, 2, "--resolved")


def test_failures_take_selectors(story: Story, postroom: Postroom) -> None:
    story.failed(1, fingerprint="aaaa")
    story.failed(2, "timeout")
    assert [orjson.loads(line)["reason"] for line in postroom("failures", "--json", "--reason", "timeout").stdout.splitlines()] == [
        "timeout"
    ]


def reported(story: Story) -> tuple[Facts, str]:
    """A failed mail with its report, and the OOPS id."""
    facts = story.failed(1)
    assert facts.outcome
    oops_id = str(facts.outcome.oops_id)
    oopses = Site.at(story.path.parent / "postroom.toml").oopses
    try:
        raise ValueError("\x1b[31mno such bug")
    except ValueError as error:
        oopses.record(oops_id, mail_id=facts.envelope.mail_id, delivery_id=facts.outcome.delivery_id, where="handler bugs", error=error)
    return facts, oops_id


def test_oops_shows_the_report_and_what_became_of_the_mail(story: Story, postroom: Postroom) -> None:
    facts, oops_id = reported(story)
    for id_ in (oops_id, oops_id.upper(), oops_id.removeprefix("OOPS-")):
        told = postroom("oops", id_).stdout
        assert 'raise ValueError("\\x1b[31mno such bug")' in told
        assert "\x1b" not in told
        assert "✗ failed   handler-error" in told
        assert f"postroom show {facts.envelope.mail_id[:12]}" in told
    document = orjson.loads(postroom("oops", "--json", oops_id).stdout)
    assert list(document) == ["oops_id", "report", "outcome"]
    assert document["report"]["type"] == "ValueError"
    assert document["outcome"]["oops_id"] == document["oops_id"] == oops_id


def test_the_report_leads_to_its_mail(story: Story, postroom: Postroom) -> None:
    facts, oops_id = reported(story)
    assert orjson.loads(postroom("show", "--json", oops_id).stdout)["mail_id"] == facts.envelope.mail_id
    assert postroom("show", "--raw", oops_id).stdout_bytes == story.mails[facts.envelope.mail_id]


def test_without_a_report_the_outcome_is_shown_and_without_both_it_says_so(story: Story, postroom: Postroom) -> None:
    facts = story.failed(1)
    assert facts.outcome
    result = postroom("oops", str(facts.outcome.oops_id))
    assert result.exit_code == 0
    assert "the report itself is not in the repository any more" in result.stdout
    assert "handler-error" in result.stdout
    nobody = "OOPS-" + "0" * 32
    result = postroom("oops", nobody)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"postroom: there is no report {nobody} in oops, and no outcome on the log names it\n"


def test_a_damaged_report_is_told_by_its_file(story: Story, postroom: Postroom) -> None:
    _, oops_id = reported(story)
    (file,) = story.path.parent.glob(f"oops/*/{oops_id}")
    file.write_bytes(b"\x00\x01")
    result = postroom("oops", oops_id)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"postroom: {file}: no readable OOPS report")
