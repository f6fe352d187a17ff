"""How fsck reads: beside those who work, in several processes, in bounded memory; and what it lists when it is asked."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from postroom.reading.cut import Cut
from postroom.reading.fsck import Accounts, fsck
from postroom.reading.look import Look
from postroom.reading.scan import Scan
from postroom.reading.spill import BITS, Bucket, Spill
from postroom.reading.tasks import Setup
from streams.log import Extent, Reader, Standing
from streams.record import Record, TopicPartition
from streams.sqlite import SqliteLog
from tests.reading.story import CHAIN, Story
from tests.reading.test_fsck import accounts, double_outcome, look, lose_one_of_two, stray_offset

# -- a log that is being worked on ------------------------------------------------------------------------------------------------


class Busy(Reader):
    """A log on which somebody works just before a topic is looked at for the first time."""

    def __init__(self, log: Reader, topic: str, work: Callable[[], None]) -> None:
        self._log = log
        self._topic = topic
        self._work: Callable[[], None] | None = work
        self.id = log.id

    def topics(self) -> dict[str, int]:
        return self._log.topics()

    def extents(self, topic: str) -> list[Extent]:
        self._begin(topic)
        return self._log.extents(topic)

    def read(self, topic: str, partition: int | None = None, **span: Any) -> Iterator[Record]:
        self._begin(topic)
        return self._log.read(topic, partition, **span)

    def _begin(self, topic: str) -> None:
        if topic == self._topic and self._work:
            self._work()
            self._work = None

    def fetch(self, positions: Any) -> list[Record | None]:
        return self._log.fetch(positions)

    def standings(self, group: str, topics: Any) -> dict[TopicPartition, Standing]:
        return self._log.standings(group, topics)


@pytest.mark.parametrize("topic", ["outcomes", "retry.bugs.1", "routed.bugs", "authenticated", "screened", "raw"])
def test_a_log_that_is_being_worked_on_shows_no_fault(story: Story, topic: str) -> None:
    waiting = [story.raw(1), story.screened(story.raw(2), carried=False), story.authenticated(story.screened(story.raw(3)), carried=False)]
    waiting.append(story.routed(story.authenticated(story.screened(story.raw(4)))))

    def work() -> None:
        story.outcome(story.routed(story.authenticated(story.screened(waiting[0]))))
        story.outcome(story.routed(story.authenticated(waiting[1])))
        story.outcome(story.routed(waiting[2]))
        story.outcome(waiting[3])
        story.handled(5)
        story.end(story.screened(story.raw(6)), "dropped", "loop")
        story.all_passed()

    cut = Cut(story.log, story.topics, ["bugs", "help"])
    first_look = Look(Busy(story.log, f"mail.{topic}", work), story.topics, cut)
    verdict = first_look.judge()
    assert (verdict.faults, first_look.stray_count) == ([], 0)
    assert sum(verdict.sound.values()) == 4
    assert accounts(story) == {"raw": 6, "ended": 6}


# -- several processes ------------------------------------------------------------------------------------------------------------


def opened(path: Path, setup: Setup) -> Scan:
    """One of several processes."""
    log = SqliteLog(path)
    return Scan(setup, log, log.close)


def test_processes_side_by_side_come_to_the_accounts_of_one(story: Story) -> None:
    """With faults too, and what tells of them."""
    for number in range(20):
        story.handled(number)
    lose_one_of_two(story)
    double_outcome(story)
    stray_offset(story)
    story.all_passed()
    alone = look(story)
    several = fsck(story.log, story.topics, ["bugs", "help"], pause=0, opener=partial(opened, story.path), processes=2)
    assert several.counts == alone.counts
    assert alone.counts["lost"] == alone.counts["doubled"] == alone.counts["unknown"] == 1

    def sorted_(found: Accounts) -> list[bytes]:
        return sorted(orjson.dumps(record) for record in found.records)

    assert sorted_(several) == sorted_(alone)


def test_what_does_not_fit_into_memory_is_kept_in_files(tmp_path: Path) -> None:
    spill = Spill(tmp_path, most=4)
    notes = [(place, place * 7, 1 << 40) for place in range(10)]
    for place, note in enumerate(notes):
        spill.note(place % 2, place << BITS - 2, note)
    assert len(list(tmp_path.iterdir())) > 1
    taken = [number for partition in range(2) for bucket in range(3) for heap in spill.take(Bucket(partition, bucket)) for number in heap]
    assert sorted(zip(*[iter(taken)] * 3, strict=True)) == notes


def test_mails_of_a_fate_that_is_asked_for_are_listed_with_their_records(story: Story) -> None:
    story.handled(1)
    story.passed(*CHAIN)
    waits = story.routed(story.authenticated(story.screened(story.raw(2))))
    story.raw(7)
    story.passed(*CHAIN)
    found = fsck(story.log, story.topics, ["help"], pause=0, naming={"stuck": "nobody comes", "repeated": "were here"})
    assert (found.counts["stuck"], found.counts["lost"], len(found.records)) == (1, 1, 1)
    (listed,) = found.listed
    assert (listed["problem"], listed["why"], listed["mail_id"]) == ("stuck", "nobody comes", waits.envelope.mail_id)
    assert [record["topic"] for record in listed["records"]] == ["mail.raw", "mail.screened", "mail.authenticated", "mail.routed.bugs"]
