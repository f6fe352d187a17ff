"""What goes wrong with a broker: one clear line each that names the setting, ingest that asks to try again, and nothing lost."""

import re
import smtplib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its way to export
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from tests.acceptance.place import Letters, Place
from tests.broker.broker import free_port
from tests.onkafka.conftest import MakePlace
from tests.onkafka.waiting import lmtp, until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}
MAIL = b"From: test@canonical.com\nTo: 1@foo.com\nMessage-ID: <1@x>\n\nhello\n"


def said(place: Place) -> str:
    """What the last call said on stderr, which must be one line; librdkafka's own log lines may stand beside it."""
    (line,) = [line for line in place.stderr.splitlines() if line.startswith("postroom: ")]
    assert "Traceback" not in place.stderr
    return line


def refused(place: Place, statuses: Sequence[tuple[list[str], int]], *words: str) -> None:
    """Each command exits so, and says it in one line with these words."""
    for command, status in statuses:
        place.run(*command, data=MAIL, status=status)
        line = said(place)
        for word in words:
            assert word in line


def test_a_broker_that_is_absent_or_a_wrong_port(make: MakePlace) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    place = make(nobody, handlers={"foo": FOO})
    path = str(place.write("m.eml", MAIL.decode()))
    refused(place, [(["pipe"], 75), (["import", path], 75)], nobody, "[log] url", "Connection refused")
    assert Path(path).exists()
    (finding,) = [line for line in place.lines("check", status=75) if line["what"] == "log"]
    assert finding["state"] == "away"
    assert "[log] url" in finding["words"]


def test_a_missing_topic_is_named_and_not_made_by_the_way(make: MakePlace, letter: Letters, admin: AdminClient) -> None:
    """A topic that vanished took its mails with it, so somebody has to look."""
    place = make(handlers={"foo": FOO}, sections={"log.topics": {"partitions": 1}})
    kept = place.mail(letter("1@foo.com"))
    topic = place.lines("topics")[1]["topic"]
    admin.delete_topics([topic])[topic].result()
    until(lambda: topic not in admin.list_topics(timeout=5).topics, f"the broker to tell that {topic} is gone")
    refused(place, [(["run", "--drain"], 2), (["pipe"], 75)], f"{topic}: missing", "`postroom topics --create`", "[log.topics]")
    place.run("topics", "--create")
    place.drain()
    assert place.outcome(kept)["status"] == "handled"


def test_partitions_that_were_added_are_noticed(make: MakePlace, letter: Letters, admin: AdminClient) -> None:
    place = make(handlers={"foo": FOO}, sections={"log.topics": {"partitions": 2}})
    place.mail(letter("1@foo.com"))
    topic = place.lines("topics")[0]["topic"]
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
    # The controller answers before the broker tells it to others. Who asks in between finds two, and then gets the third from its group.
    until(lambda: len(admin.list_topics(timeout=5).topics[topic].partitions) == 3, f"the broker to tell of the third partition of {topic}")
    refused(place, [(["run", "--drain"], 2), (["pipe"], 75)], f"{topic}: it has 3 partitions", "[log.topics] partitions")
    assert place.lines("topics", status=1)[0]["state"] == "drifted"


def test_a_mail_that_no_record_takes_is_named_and_the_others_go_on(make: MakePlace, letter: Letters) -> None:
    """archive.inline_limit is above what the topics take."""
    port = free_port()
    place = make(
        handlers={"foo": FOO},
        sections={
            "log.topics": {"partitions": 1, "max_message_bytes": 30_000},
            "archive": {"inline_limit": 100_000},
            "ingest": {"lmtp": f"127.0.0.1:{port}"},
        },
    )
    place.run("topics", "--create")
    (finding,) = [line for line in place.lines("check", status=2) if line["state"] == "wrong"]
    assert "[archive] inline_limit is 100000" in finding["words"]
    assert "max.message.bytes = 30000" in finding["words"]
    large = letter("1@foo.com", body="large " * 10_000)
    files = [place.write(f"{number}.eml", mail) for number, mail in enumerate([letter("1@foo.com"), large, letter("2@foo.com")])]
    lines = place.lines("import", *map(str, files), status=1)
    assert [line["error"] is None for line in lines] == [True, False, True]
    assert f"{place.lines('topics')[0]['topic']}" in lines[1]["error"]
    place.run("pipe", data=large.encode(), status=75)
    assert "too large" in said(place)
    assert "[archive] inline_limit" in said(place)
    running = place.start("run", "lmtp")
    try:
        with lmtp(port) as client, pytest.raises(smtplib.SMTPDataError) as answer:
            client.sendmail("test@canonical.com", ["1@foo.com"], large)
        assert answer.value.smtp_code == 451  # the limits can be mended
    finally:
        running.terminate()
        running.wait(60)
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled", "handled"]


def test_a_mail_whose_facts_outgrow_the_topic_stops_the_role_and_is_kept(make: MakePlace, letter: Letters, admin: AdminClient) -> None:
    """Just small enough for mail.raw, and too large for mail.routed, whose facts say more. `check` had said to leave room."""
    place = make(
        handlers={"foo": FOO}, sections={"log.topics": {"partitions": 1, "max_message_bytes": 30_000}, "archive": {"inline_limit": 29_900}}
    )
    rows = place.lines("topics", "--create")
    assert "leave 131072 octets between them" in str(place.lines("check"))
    edge = letter("1@foo.com", body="x" * 28_800)
    mail_id = place.mail(edge)
    place.run("run", "--drain", status=2)
    assert "larger than its topic takes" in said(place)
    assert "`postroom check`" in said(place)
    assert place.outcomes() == []
    for row in rows:
        entry = ConfigEntry("max.message.bytes", "200000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, row["topic"], incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result()
    text = (place.folder / "postroom.toml").read_text()
    place.write("postroom.toml", re.sub("max_message_bytes = .*", "max_message_bytes = 200000", text))
    place.drain()
    assert place.outcome(mail_id)["status"] == "handled"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda text: text.replace("[accounts]", '[log.kafka]\nisolation.level = "read_uncommitted"\n\n[accounts]'),
            "[log.kafka] isolation.level",
        ),
        (lambda text: text.replace("[accounts]", "[log.kafka]\nno.such.key = 1\n\n[accounts]"), "no.such.key"),
        (lambda text: text.replace("kafka://", "kafka://me:secret@"), "[log] url"),
        (lambda text: text.replace("kafka://", "kafak://"), "[log] url"),
    ],
    ids=["fixed", "unknown", "password", "scheme"],
)
def test_a_wrong_setting_of_the_log_is_one_line(make: MakePlace, change: Callable[[str], str], words: str) -> None:
    place = make("127.0.0.1:1", handlers={"foo": FOO})
    place.write("postroom.toml", change((place.folder / "postroom.toml").read_text()))
    refused(place, [(["run", "--drain"], 2), (["pipe"], 75)], words)
    assert "secret" not in place.stderr
