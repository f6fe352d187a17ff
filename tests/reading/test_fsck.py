"""fsck finds what is planted, names it, and finds nothing else."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

import orjson
import pytest

from postroom.erasing.redact import without_content
from postroom.erasing.tombstone import Erased, tombstone
from postroom.reading.fsck import COUNTS, Accounts, fsck
from streams.record import Draft, Position
from tests.reading.conftest import Postroom
from tests.reading.story import CHAIN, Story, one_partition
from topology.facts import Facts, Replay
from topology.records import outcome_draft

BOTH = ("a@bugs.example.org", "b@bugs.example.org")


def look(story: Story) -> Accounts:
    """The accounts, without the pause before the second look; that the fates add up is held on the way."""
    found = fsck(story.log, story.topics, ["bugs", "help"], pause=0)
    assert tuple(found.counts) == COUNTS
    assert found.counts["raw"] == sum(found.counts[name] for name in COUNTS[1:-1])
    assert found.clean == (not found.records)
    return found


def accounts(story: Story) -> dict[str, int]:
    """The counts that are not 0."""
    return {name: count for name, count in look(story).counts.items() if count}


def delete(story: Story, topic: str) -> None:
    """Takes a topic's records out of the file behind the engine's back."""
    with closing(sqlite3.connect(story.path)) as connection, connection:
        (number,) = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
        assert connection.execute("DELETE FROM batches WHERE first >> 50 = ?", (number,)).rowcount


def expire(story: Story, topic: str) -> None:
    """Takes a topic's records out of the file as retention does."""
    delete(story, topic)
    with closing(sqlite3.connect(story.path)) as connection, connection:
        (number,) = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
        connection.execute("UPDATE heads SET first = next WHERE slot >> 12 = ?", (number,))


def to_both(story: Story) -> Facts:
    """A mail to two addresses, up to routing."""
    return story.authenticated(story.screened(story.raw(9, recipients=BOTH)))


# -- what adds up -----------------------------------------------------------------------------------------------------------------


def test_an_empty_log_adds_up(story: Story) -> None:
    assert accounts(story) == {}


def test_a_mail_ends_at_any_stage_or_with_all_of_its_deliveries(story: Story) -> None:
    story.handled(1)
    story.failed(2)
    story.end(story.screened(story.raw(3)), "dropped", "precedence")
    story.end(story.screened(story.raw(4)), "rejected", "inactive-account", stage="authentication")
    story.end(story.authenticated(story.screened(story.raw(5))), "rejected", "no-recipient", stage="routing")
    story.end(story.raw(6), "failed", "stage-error", stage="authentication")
    facts = to_both(story)
    story.outcome(story.routed(facts, BOTH[0]))
    story.outcome(facts.having(route=story.unwritten(facts, BOTH[1])), "failed", "no-handler", stage="routing")
    story.all_passed()
    assert accounts(story) == {"raw": 7, "ended": 7}


def test_what_waits_for_a_stage_is_on_its_way(story: Story) -> None:
    story.passed("bounce-filter")
    story.raw(1)
    story.passed("authentication")
    story.screened(story.raw(2), carried=False)
    story.passed("routing")
    story.authenticated(story.screened(story.raw(3)), carried=False)
    story.passed("bugs")
    story.routed(story.authenticated(story.screened(story.raw(4))))
    assert accounts(story) == {"raw": 4, "on_its_way": 4}


def test_a_delivery_that_waits_for_a_later_try_is_on_its_way(story: Story) -> None:
    facts = story.routed(story.authenticated(story.screened(story.raw(1))))
    story.all_passed()
    story.routed(facts, topic=story.topics.retries("bugs")[1])
    assert accounts(story) == {"raw": 1, "on_its_way": 1}


def test_a_mail_with_one_delivery_ended_and_one_waiting_is_on_its_way(story: Story) -> None:
    facts = to_both(story)
    ended = story.routed(facts, BOTH[0])
    story.all_passed()
    story.outcome(ended)
    story.routed(facts, BOTH[1], "help")
    assert accounts(story) == {"raw": 1, "on_its_way": 1}


def test_repeats_are_counted_apart_and_a_partial_repeat_as_a_mail(story: Story) -> None:
    first = story.handled(1)
    story.repeated(story.raw(1, repeat=True), first)
    partial = story.raw(1, recipients=("1@bugs.example.org", "2@bugs.example.org"))
    facts = story.authenticated(story.screened(partial, recipients=("2@bugs.example.org",)))
    story.outcome(story.routed(facts, "2@bugs.example.org"))
    story.all_passed()
    assert accounts(story) == {"raw": 3, "ended": 2, "repeated": 1}


def test_two_identical_foreign_records_are_two_mails(story: Story) -> None:
    story.handled(1)
    story.handled(1, repeat=True)
    story.all_passed()
    assert accounts(story) == {"raw": 2, "ended": 2}


def test_a_replay_from_any_stage_gives_a_delivery_one_more_outcome(story: Story) -> None:
    failed = story.failed(1)
    for generation, start in enumerate((story.screened, story.authenticated, story.routed), start=1):
        facts = failed.having(outcome=None, route=None, replay=Replay(generation, ("1@bugs.example.org",)))
        if start is story.screened:
            facts = story.authenticated(story.screened(facts))
        elif start is story.authenticated:
            facts = story.authenticated(facts)
        story.outcome(story.routed(facts))
    story.handled(1, repeat=True, replay=Replay(4))
    story.all_passed()
    assert accounts(story) == {"raw": 2, "ended": 2}


def test_a_replay_that_still_waits_keeps_its_mail_on_its_way(story: Story) -> None:
    failed = story.failed(1)
    story.all_passed()
    story.routed(failed.having(outcome=None, replay=Replay(1, ("1@bugs.example.org",))))
    assert accounts(story) == {"raw": 1, "on_its_way": 1}


def test_a_delivery_to_a_handler_that_is_no_longer_named_is_stuck(story: Story) -> None:
    story.routed(story.authenticated(story.screened(story.raw(1))))
    story.passed(*CHAIN)
    found = fsck(story.log, story.topics, ["help"], pause=0)
    assert (found.counts["stuck"], found.counts["on_its_way"], found.clean) == (1, 0, True)


def test_what_a_group_can_no_longer_reach_is_stuck(story: Story) -> None:
    story.screened(story.raw(1), carried=False)
    story.passed("bounce-filter")
    story.log.ensure_group(story.topics.group("authentication"), [story.topics.screened])
    expire(story, story.topics.screened)
    story.screened(story.raw(1, repeat=True), carried=False)
    story.passed("bounce-filter")
    assert accounts(story) == {"raw": 2, "stuck": 1, "beyond_retention": 1}


def test_a_mail_with_a_tombstone_is_erased_whether_its_record_is_there_or_not(story: Story) -> None:
    facts = story.handled(1)
    repeat = story.raw(1, repeat=True)
    story.repeated(repeat, facts)
    story.all_passed()
    for number, one in enumerate((facts, repeat)):
        story.append(buried(story, one))
        assert accounts(story) == {"raw": 2, "erased": number + 1} | ({"repeated": 1} if number == 0 else {})
    delete(story, story.topics.raw)
    assert accounts(story) == {"raw": 2, "erased": 2}


def test_a_mail_whose_record_is_gone_without_a_tombstone_is_lost(story: Story) -> None:
    story.handled(1)
    story.all_passed()
    delete(story, story.topics.raw)
    found = look(story)
    assert (found.counts["lost"], found.counts["erased"]) == (1, 0)
    assert [told["why"] for told in found.records] == ["its record is gone, and no tombstone tells that it was erased"]


def buried(story: Story, facts: Facts) -> Draft:
    """The tombstone of a mail."""
    assert facts.raw
    envelope = orjson.loads(facts.encode())["envelope"]
    return tombstone(story.topics, without_content(envelope), facts.raw, Erased(story.at, "a@b"))


def test_what_retention_has_taken_is_counted_apart(story: Story) -> None:
    story.handled(1)
    story.all_passed()
    expire(story, story.topics.raw)
    assert accounts(story) == {"raw": 1, "beyond_retention": 1}
    for topic in (story.topics.screened, story.topics.authenticated, story.topics.routed("bugs"), story.topics.outcomes):
        expire(story, topic)
    story.later(1000)
    story.handled(2)
    story.all_passed()
    assert accounts(story) == {"raw": 2, "ended": 1, "beyond_retention": 1}


def test_retention_excuses_no_mail_that_is_younger_than_what_it_has_taken(story: Story) -> None:
    story = one_partition(story)
    story.handled(1)
    story.all_passed()
    expire(story, story.topics.outcomes)
    story.later(1000)
    story.handled(2)
    story.later(1000)
    story.routed(story.authenticated(story.screened(story.raw(3))))
    story.all_passed()
    assert accounts(story) == {"raw": 3, "ended": 1, "beyond_retention": 1, "lost": 1}


# -- what does not ----------------------------------------------------------------------------------------------------------------


def lose_raw(story: Story) -> None:
    story.raw(1)


def lose_screened(story: Story) -> None:
    story.screened(story.raw(1))


def lose_authenticated(story: Story) -> None:
    story.authenticated(story.screened(story.raw(1)))


def lose_routed(story: Story) -> None:
    story.routed(story.authenticated(story.screened(story.raw(1))))


def lose_one_of_two(story: Story) -> None:
    story.outcome(story.routed(to_both(story), BOTH[0]))


def lose_a_retry(story: Story) -> None:
    facts = story.routed(story.authenticated(story.screened(story.raw(1))))
    story.routed(facts, topic=story.topics.retries("bugs")[0])


def lose_a_replay(story: Story) -> None:
    story.screened(story.failed(1).having(outcome=None, route=None, replay=Replay(7)))


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (lose_raw, "the bounce filter has passed it, and wrote nothing"),
        (lose_screened, "screened, but neither authenticated nor ended"),
        (lose_authenticated, "authenticated, but neither routed nor ended"),
        (lose_routed, "a delivery has neither an outcome nor a record that waits"),
        (lose_one_of_two, "a delivery has neither an outcome nor a record that waits"),
        (lose_a_retry, "a delivery has neither an outcome nor a record that waits"),
        (lose_a_replay, "screened, but neither authenticated nor ended"),
    ],
)
def test_a_lost_mail_is_found_and_told(story: Story, plant: Callable[[Story], None], why: str) -> None:
    story.handled(100)
    plant(story)
    story.handled(101)
    story.all_passed()
    found = look(story)
    assert {name: count for name, count in found.counts.items() if count} == {"raw": 3, "ended": 2, "lost": 1}
    (told,) = found.records
    assert (told["problem"], told["why"]) == ("lost", why)
    assert told["records"]
    assert told["mail_id"] in story.mails


def double_screened(story: Story) -> None:
    story.screened(story.handled(1).having(outcome=None, route=None, authentication=None))


def double_authenticated(story: Story) -> None:
    facts = story.authenticated(story.screened(story.raw(1)), carried=False)
    story.outcome(story.routed(story.authenticated(facts, carried=False)))
    story.outcome(story.routed(facts))


def double_outcome(story: Story) -> None:
    story.append(outcome_draft(story.topics, story.handled(1)))


def double_route(story: Story) -> None:
    facts = story.routed(story.authenticated(story.screened(story.raw(1))))
    story.routed(facts)
    story.outcome(facts)
    story.outcome(facts)


def double_whole(story: Story) -> None:
    facts = story.end(story.screened(story.raw(1)), "dropped", "precedence")
    story.append(outcome_draft(story.topics, facts))


def double_end(story: Story) -> None:
    story.end(story.handled(1).having(outcome=None, route=None), "rejected", "no-recipient", stage="routing")


@pytest.mark.parametrize("plant", [double_screened, double_authenticated, double_outcome, double_route, double_whole, double_end])
def test_a_doubled_mail_is_found_and_told(story: Story, plant: Callable[[Story], None]) -> None:
    story.handled(100)
    plant(story)
    story.handled(101)
    story.all_passed()
    found = look(story)
    assert {name: count for name, count in found.counts.items() if count} == {"raw": 3, "ended": 2, "doubled": 1}
    (told,) = found.records
    assert told["problem"] == "doubled"
    assert len(told["records"]) > 2


def stray_position(story: Story) -> None:
    story.append(outcome_draft(story.topics, story.handled(1).having(raw=None)))


def stray_log(story: Story) -> None:
    story.append(outcome_draft(story.topics, story.handled(1).having(raw=Position("another", "mail.raw", 0, 0))))


def stray_offset(story: Story) -> None:
    story.append(outcome_draft(story.topics, story.handled(1).having(raw=Position(story.log.id, "mail.raw", 0, 1000))))


def stray_delivery(story: Story) -> None:
    facts = story.handled(1).having(outcome=None)
    story.outcome(facts.having(route=story.unwritten(facts, "nobody@bugs.example.org")))


@pytest.mark.parametrize("plant", [stray_position, stray_log, stray_offset, stray_delivery])
def test_a_record_that_nothing_led_to_is_unknown(story: Story, plant: Callable[[Story], None]) -> None:
    plant(story)
    story.all_passed()
    found = look(story)
    assert {name: count for name, count in found.counts.items() if count} == {"raw": 1, "ended": 1, "unknown": 1}
    assert [told["problem"] for told in found.records] == ["unknown"]


# -- the command ------------------------------------------------------------------------------------------------------------------


def test_the_command_says_0_when_everything_adds_up(story: Story, postroom: Postroom) -> None:
    story.handled(1)
    story.all_passed()
    result = postroom("fsck", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    counts = dict.fromkeys(COUNTS, 0) | {"raw": 1, "ended": 1}
    assert orjson.loads(result.stdout) == counts | {"archive": None, "records": None, "listed": None}
    assert [line.split()[:2] for line in postroom("fsck").stdout.splitlines()] == [[str(count), name] for name, count in counts.items()]


def test_the_command_says_1_and_names_what_is_at_fault(story: Story, postroom: Postroom) -> None:
    facts = story.screened(story.raw(1))
    assert facts.raw
    story.all_passed()
    result = postroom("fsck", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    document = orjson.loads(result.stdout)
    assert document["lost"] == 1
    (record,) = document["records"]
    assert record["raw"] == {"topic": "mail.raw", "partition": facts.raw.partition, "offset": facts.raw.offset}
    told = postroom("fsck")
    assert told.exit_code == 1
    assert f"lost: screened, but neither authenticated nor ended\n  mail {facts.envelope.mail_id}\n" in told.stdout
