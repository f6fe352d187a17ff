"""What the broker has topics set to, and what retention leaves of them."""

from typing import Any

import pytest
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its way to export
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from tests.acceptance.place import Letters, Place
from tests.onkafka.conftest import MakePlace

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}
HOW = {"partitions": 2, "retention": "1h", "replication": 1, "min_insync_replicas": 1, "max_message_bytes": 900_000}


def resettled(place: Place, **how: Any) -> None:
    """The settings file with other words in [log.topics]."""
    head, _, rest = (place.folder / "postroom.toml").read_text().partition("[log.topics]")
    tail = rest.partition("\n\n")[2]
    place.write("postroom.toml", f"{head}[log.topics]\n" + "".join(f"{key} = {value!r}\n" for key, value in how.items()) + f"\n{tail}")


def test_topics_are_made_as_the_settings_say_and_every_difference_is_named(make: MakePlace) -> None:
    place = make(handlers={"foo": FOO}, sections={"log.topics": HOW})
    rows = place.lines("topics", "--create")
    for row in rows:
        assert row["state"] == "ok"
        assert (row["replication"], row["retention"], row["min_insync_replicas"], row["max_message_bytes"]) == (1, 3600.0, 1, 900_000)
    resettled(place, partitions=4, retention="2h", replication=3, min_insync_replicas=2, max_message_bytes=800_000)
    rows = place.lines("topics", "--create", status=1)
    assert {row["state"] for row in rows} == {"drifted"}
    raw = " ".join(rows[0]["drift"])
    for key in ("partitions", "replication", "retention", "min_insync_replicas", "max_message_bytes"):
        assert f"[log.topics] {key} " in raw
        assert f"[log.topics] {key} " in place.stderr
    assert [(row["partitions"], row["retention"]) for row in rows if row["topic"].endswith(".raw")] == [(2, 3600.0)]
    resettled(place, **HOW)
    place.run("topics")


def test_settings_that_are_not_given_are_the_brokers_to_choose(make: MakePlace) -> None:
    place = make(handlers={"foo": FOO})
    (raw, *_) = place.lines("topics", "--create")
    assert (raw["state"], raw["replication"], raw["retention"]) == ("ok", 1, 7 * 86400.0)


def test_a_topic_that_somebody_made_with_compaction_and_other_times_is_refused(make: MakePlace, admin: AdminClient) -> None:
    place = make(handlers={"foo": FOO})
    name = place.lines("topics", status=1)[0]["topic"]
    config = {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
    admin.create_topics([NewTopic(name, 8, 1, config=config)])[name].result()
    rows = place.lines("topics", "--create", status=1)
    assert [row["topic"] for row in rows if row["state"] != "ok"] == [name]
    assert "cleanup.policy is compact" in place.stderr
    assert "message.timestamp.type is CreateTime" in place.stderr


def test_lag_tells_how_long_retention_leaves_and_when_it_took_something(make: MakePlace, letter: Letters, admin: AdminClient) -> None:
    place = make(handlers={"foo": FOO}, sections={"log.topics": {"partitions": 1, "retention": "1h"}})
    place.imported([letter(f"{number}@foo.com") for number in range(3)])
    group, raw, left = _first(place)
    assert 0 < left <= 3600
    resource = ConfigResource(
        ConfigResource.Type.TOPIC, raw, incremental_configs=[ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)]
    )
    admin.incremental_alter_configs([resource])[resource].result()
    assert _first(place)[2] is None
    next(iter(admin.delete_records([At(raw, 0, 2)]).values())).result()
    (row, *_) = place.lines("lag", status=1)
    assert (row["expired"], row["retention_left"]) == (2, 0.0)
    assert f"{group}: retention took 2 offsets of {raw}" in place.stderr
    place.drain(status=2)
    assert f"group {group} stands at 0" in place.stderr
    assert place.outcomes() == []


def test_a_group_that_the_broker_has_forgotten_is_refused_and_does_not_begin_again(
    make: MakePlace, letter: Letters, admin: AdminClient
) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("1@foo.com"))
    place.drain()
    group, topic, _ = _first(place)
    admin.delete_consumer_groups([group])[group].result()
    for command in (("run", "--drain"), ("topics", "--create"), ("check",)):
        words = place.run(*command, status=2).decode() + place.stderr
        assert f"group {group} has no position in {topic}" in words
        assert "offsets.retention.minutes" in words
    place.mail(letter("2@foo.com"))
    place.run("run", "replyer", "--drain")
    assert len(place.outcomes()) == 1


def _first(place: Place) -> tuple[str, str, Any]:
    (row, *_) = place.lines("lag")
    return row["group"], row["topic"], row["retention_left"]
