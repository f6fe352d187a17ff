"""`postroom copy`: nothing is left behind, nothing is done twice."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from postroom.reading.selectors import Selectors
from postroom.replay.marker import Marker
from tests.broker.shared import bootstrap
from tests.copying.town import Town
from tests.onkafka.waiting import until

pytestmark = [pytest.mark.timeout(240)]


def told(town: Town, in_full: int = 4) -> dict[str, Any]:
    """All that the command line tells of a log; some mails in full, that were replayed or are to be answered."""
    outcomes = town.outcomes()
    some = [row["mail_id"] for row in outcomes if row["generation"] or row["reply"] == "waiting"][:in_full]
    return {
        "outcomes": outcomes,
        "pending": town.pending(),
        # What retention took leaves a place a partition in the copy; `raw` is the sum of the others.
        "fsck": {name: count for name, count in town.fsck().items() if name not in ("raw", "beyond_retention")},
        "stories": [town.story(mail_id) for mail_id in some],
        "mails": [town.raw(mail_id) for mail_id in some],
    }


def ends_well(town: Town) -> None:
    """What was open ends in the new log, each once and in order; what was done is not done again; a repeat is known."""
    before, pending, letters = town.calls(), {mail_id for mail_id, _ in town.pending()}, len(town.place.outbox())
    text = town.letter("fresh@foo.com")
    town.place.mail(text, "--sender", "test@canonical.com", "--recipient", "fresh@foo.com")
    town.place.mail(town.first, "--sender", "test@canonical.com", "--recipient", "first@foo.com", "--recipient", "third@foo.com")
    town.goes_on()
    outcomes = town.outcomes()
    assert not town.pending()
    assert pending <= {row["mail_id"] for row in outcomes}
    counts = town.fsck()
    assert (counts["lost"], counts["doubled"], counts["unknown"], counts["on_its_way"]) == (0, 0, 0, 0)
    once = ["routed", "screened", "fresh", "third", "answer"]
    expected = Counter({f"{name}@foo.com 0": 1 for name in once} | {"later-0@foo.com 0": 2, "later-1@foo.com 0": 2})
    expected.pop("answer@foo.com 0")
    assert town.calls() - before == expected
    lines = [line.split() for line in (town.place.folder / "calls").read_text().splitlines()]
    order = [int(number) for recipient, _, number in lines if recipient == "later-0@foo.com"]
    assert order == sorted(order)
    assert "waiting" not in {row["reply"] for row in outcomes}
    assert len(town.place.outbox()) == letters + 4  # no-2, no-3, answer, and the OOPS mail about y


def copied(town: Town, *args: str) -> dict[str, Any]:
    """What `copy --json` says."""
    (report,) = town.place.lines("copy", *args)
    return report


def test_a_copy_within_sqlite_with_other_partitions_and_prefix_tells_the_same_and_goes_on(town: Town) -> None:
    before = told(town)
    town.moves_to("sqlite:///new.db", prefix="new", partitions=3)
    report = copied(town, str(town.place.folder / "old.toml"), str(town.place.folder / "postroom.toml"))
    assert {topic["partitions"] for topic in report["topics"]} == {3, 1}
    assert told(town) == before
    ends_well(town)


def times(town: Town) -> list[int]:
    """When each record of mail.raw was appended."""
    with closing(town.site()) as site:
        return sorted(record.time for record in site.log.read(site.topics.raw))


@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_a_copy_goes_on_on_kafka_and_one_back_from_there_tells_what_the_first_log_did(town: Town) -> None:
    erase(town)
    before, appended = told(town, in_full=2), times(town)
    town.moves_to(f"kafka://{bootstrap()}", partitions=2, prefix=f"there-{time.time_ns()}")
    there = copied(town, str(town.place.folder / "old.toml"), str(town.place.folder / "postroom.toml"))
    assert times(town) == appended
    assert town.fsck() | {"raw": 0} == before["fsck"] | {"raw": 0, "beyond_retention": 0}
    assert {row["state"] for row in town.lines("topics")} == {"ok"}
    with closing(town.site()) as site, closing(site.log.consumer(site.topics.group("postman"), [site.topics.replies])) as member:
        until(lambda: bool(member.poll(1, 0.1)) and bool(member.assigned), "a member of the group")
        town.place.run("copy", str(town.place.folder / "postroom.toml"), "sqlite:///back.db?prefix=back", status=75)
    assert "postman: at work" in town.place.stderr
    back = copied(town, str(town.place.folder / "postroom.toml"), "sqlite:///back.db?prefix=back")
    assert [topic["records"] for topic in there["topics"]] == [topic["records"] for topic in back["topics"]]
    begin = time.time_ns() // 1_000_000
    ends_well(town)
    assert times(town)[-1] >= begin - 1000
    town.moves_to("sqlite:///back.db", prefix="back")
    assert told(town, in_full=2) == before


def erase(town: Town) -> str:
    """Erases a mail; its id."""
    erased = next(str(row["mail_id"]) for row in town.outcomes() if row["recipient"] == "many-3@foo.com")
    town.place.run("erase", "--id", erased, "--apply", "--why", "asked for")
    return erased


def killed(town: Town, is_half_way: Callable[[], bool], *args: str) -> None:
    """Starts a copy and kills it as soon as it is half-way."""
    running = subprocess.Popen(town.place.command("copy", *args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not is_half_way():
            assert running.poll() is None, running.communicate()[1].decode()
            time.sleep(0.001)
    finally:
        running.kill()
        running.communicate()


def test_a_copy_that_is_killed_leaves_no_log_behind_and_begins_again(town: Town) -> None:
    folder = town.place.folder
    killed(town, (folder / "new.db.copying").exists, "sqlite:///postroom.db", "sqlite:///new.db")
    assert not (folder / "new.db").exists()
    copied(town, "sqlite:///postroom.db", "sqlite:///new.db")
    assert {path.name for path in folder.glob("new.db*")} == {"new.db", "new.db.lock"}


@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_on_kafka_nobody_takes_a_copy_that_was_killed_for_a_log(town: Town) -> None:
    prefix = f"half-{time.time_ns()}"
    town.moves_to(f"kafka://{bootstrap()}", partitions=1, prefix=prefix)
    admin = AdminClient({"bootstrap.servers": bootstrap(), "log_level": 0})
    ends = str(town.place.folder / "old.toml"), str(town.place.folder / "postroom.toml")
    killed(town, lambda: f"{prefix}.raw" in admin.list_topics(timeout=5).topics, *ends)
    for command in (("run", "--drain"), ("topics", "--create"), ("import", str(next(town.place.folder.glob("*.eml"))))):
        town.place.run(*command, status=2)
        assert "not finished" in town.place.stderr
    town.place.run("copy", ends[1], "sqlite:///from-half.db", status=2)
    assert "not finished" in town.place.stderr
    copied(town, *ends)
    assert f"{prefix}.copying" not in admin.list_topics(timeout=5).topics
    town.fsck()


def test_a_copy_says_why_it_refuses(town: Town) -> None:
    place = town.place
    place.run("copy", "sqlite:///postroom.db", "sqlite:///postroom.db", status=2)
    assert "the same log" in place.stderr
    place.run("copy", "sqlite:///gone.db", "sqlite:///new.db", status=2)
    assert "there is no log" in place.stderr
    for query in ("prefx=other", "prefix=other&partitions=4", "prefix=a&prefix=b", "", "prefix="):
        place.run("copy", "sqlite:///postroom.db", f"sqlite:///new.db?{query}", status=2)
        assert "prefix" in place.stderr
        assert not (place.folder / "new.db").exists()
    place.run("copy", "sqlite:///postroom.db", "sqlite:///postroom.db?prefix=other", status=2)
    assert "holds records already" in place.stderr
    with closing(town.site()) as site, closing(site.log.consumer(site.topics.group("postman"), [site.topics.replies])):
        place.run("copy", "sqlite:///postroom.db", "sqlite:///new.db", status=75)
    assert "postman: at work" in place.stderr
    with closing(town.site()) as site:
        marker = Marker("2026-03-02T10:00:00.000Z", "me", None, Selectors(), "routing", "then", redo=False, replies=False, limit=None)
        marker.append(site.log, site.topics)
    place.run("copy", "sqlite:///postroom.db", "sqlite:///new.db", status=75)
    assert "--resume 3" in place.stderr
    assert not list(place.folder.glob("new.db*"))


def test_mails_that_were_erased_or_that_retention_took_are_gone_from_the_copy_too(town: Town) -> None:
    place = town.place
    erased = erase(town)
    with closing(town.site()) as site:
        topics = (site.topics.authenticated, site.topics.raw)
        assert {topic for topic, _ in site.log.trim(dict.fromkeys(topics, 0.0))} == set(topics)
    before = told(town, in_full=0)
    town.moves_to("sqlite:///new.db")
    copied(town, str(place.folder / "old.toml"), "sqlite:///new.db")
    assert told(town, in_full=0) == before
    place.run("show", erased, "--raw", status=1)
