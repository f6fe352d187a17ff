"""`tail`: the last outcomes, and new ones as they come."""

import signal
import subprocess
import sys

import orjson

from postroom.reading.selectors import Selectors
from postroom.reading.tail import Tail
from tests.reading.conftest import Postroom
from tests.reading.story import Story, one_partition


def last(postroom: Postroom, *arguments: str) -> list[str]:
    """The Message-IDs of what `tail --json` prints."""
    result = postroom("tail", "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return [orjson.loads(line)["message_id"] for line in result.stdout.splitlines()]


def test_the_last_outcomes_come_in_order_whatever_partition_they_are_in(story: Story, postroom: Postroom) -> None:
    for number in range(30):
        story.handled(number)
        story.later(1)
    assert last(postroom) == [f"{number}@x" for number in range(20, 30)]
    assert last(postroom, "-n", "3") == ["27@x", "28@x", "29@x"]
    assert last(postroom, "-n", "0") == []
    assert len(last(postroom, "-n", "99")) == 30


def test_selectors_look_as_far_back_as_they_must(story: Story, postroom: Postroom) -> None:
    story = one_partition(story)
    story.failed(1)
    facts = story.routed(story.authenticated(story.screened(story.raw(2))))
    for _ in range(300):
        story.outcome(facts)
        story.later(1)
    tail = Tail(story.log, story.topics, Selectors(status=("failed",)).filter(0))
    assert [one.row["message_id"] for one in tail.last(5)] == ["1@x"]
    story.log.close()


def test_the_reply_is_what_is_known_at_that_moment(story: Story, postroom: Postroom) -> None:
    story.replied(story.failed(1), "silent", "unknown-sender")
    story.later(1)
    story.failed(2)
    found = [orjson.loads(line)["reply"] for line in postroom("tail", "--json").stdout.splitlines()]
    assert found == ["silent:unknown-sender", "waiting"]


def test_following_brings_each_new_outcome_once(story: Story) -> None:
    story.handled(1)
    tail = Tail(story.log, story.topics, Selectors(status=("handled",)).filter(0))
    assert [one.row["message_id"] for one in tail.last(10)] == ["1@x"]
    rounds = iter([[2, 3], [], [4]])

    def wait() -> bool:
        numbers = next(rounds, None)
        for number in numbers or []:
            story.later(1)
            story.handled(number)
            story.failed(100 + number)
        return numbers is not None

    assert [one.row["message_id"] for one in tail.follow(wait)] == ["2@x", "3@x", "4@x"]


def test_following_ends_in_good_order_when_it_is_interrupted(story: Story, postroom: Postroom) -> None:
    story.handled(1)
    settings = str(story.path.parent / "postroom.toml")
    # As at a terminal: a shell that runs the tests in the background has them, and all below, ignore SIGINT.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from postroom.cli import main; main()"
    command = [sys.executable, "-c", code, "--config", settings, "tail", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        first = orjson.loads(process.stdout.readline())
        story.handled(2)
        second = orjson.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.stderr.read() == b""
        assert process.wait() == 0
    assert [first["message_id"], second["message_id"]] == ["1@x", "2@x"]
