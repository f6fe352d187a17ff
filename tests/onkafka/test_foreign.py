"""What other programs put on mail.raw, by Kafka's own command line producers. docs/producers.md promises it."""

import json
import re
from pathlib import Path

import pytest

from tests.acceptance.place import Letters, Place
from tests.broker.broker import java
from tests.onkafka.conftest import MakePlace

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}
BAR = {"use": "maildir", "path": "bar/", "domains": ["bar.com"], "allow_unknown_senders": True}
DOCS = Path(__file__).parents[2] / "docs" / "producers.md"


@pytest.fixture
def place(make: MakePlace) -> Place:
    """An installation whose topics are there."""
    made = make(handlers={"foo": FOO, "bar": BAR})
    made.run("topics", "--create")
    return made


def raw(place: Place) -> str:
    """The full name of mail.raw."""
    return str(place.lines("topics")[0]["topic"])


def console(address: str, topic: str, lines: list[str], **reading: str) -> None:
    """Kafka's console producer: each line is a record. reading: how it takes a line apart, underscores for dots."""
    how = [word for key, value in reading.items() for word in ("--property", f"{key.replace('_', '.')}={value}")]
    text = "".join(f"{line}\n" for line in lines)
    java("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", address, "--topic", topic, *how, stdin=text.encode())


def whole(address: str, topic: str, mail: str, folder: Path, times: int) -> None:
    """Kafka's performance producer, which takes a payload of many lines."""
    file = folder / "payload"
    file.write_text(mail)
    java(
        "org.apache.kafka.tools.ProducerPerformance",
        *("--topic", topic, "--num-records", str(times), "--throughput", "-1"),
        *("--payload-file", str(file), "--payload-delimiter", "END-OF-MAIL", "--producer-props", f"bootstrap.servers={address}"),
    )


def test_bare_lines_of_the_console_producer_are_mails_with_an_outcome_each(place: Place, address: str) -> None:
    """No key, no headers; a mail of one line is a mail, and so is junk."""
    console(address, raw(place), ["To: 1@bar.com", "To: 2@bar.com", "no mail at all", "\0", ""])
    place.drain()
    rows = place.outcomes()
    assert sorted((row["recipient"] or "", row["status"]) for row in rows) == [
        ("", "rejected"),
        ("", "rejected"),
        ("", "rejected"),
        ("1@bar.com", "handled"),
        ("2@bar.com", "handled"),
    ]
    assert {row["reason"] for row in rows if row["status"] == "rejected"} == {"no-recipient"}
    found = place.fsck()
    assert (found["raw"], found["ended"]) == (5, 5)


def test_a_whole_mail_without_key_or_headers_is_read_like_any_other(place: Place, address: str, letter: Letters) -> None:
    """Its envelope is read from the mail: Return-Path, the original-recipient header, the topmost Received field."""
    fields = (
        "Return-Path: <relay@canonical.com>\nX-Original-To: 7@foo.com\n"
        "Received: from a by b; Mon, 02 Mar 2026 10:00:01 +0000\nCc: 8@foo.com\n"
    )
    mail = fields + letter("9@foo.com")
    whole(address, raw(place), mail, place.folder, 1)
    place.drain()
    (row,) = place.outcomes()
    assert (row["status"], row["recipient"], row["account"]) == ("handled", "7@foo.com", "sample")
    assert (row["envelope_sender"], row["received_at"]) == ("relay@canonical.com", "2026-03-02T10:00:01.000Z")
    assert place.run("show", row["mail_id"], "--raw") == mail.encode()


def test_a_bare_record_that_no_later_topic_takes_with_its_facts_is_returned_as_too_large(
    place: Place, address: str, letter: Letters
) -> None:
    whole(address, raw(place), letter("1@foo.com", body="x" * 1_000_000), place.folder, 1)
    whole(address, raw(place), letter("2@foo.com", body="x" * 900_000), place.folder, 1)
    place.drain()
    rows = {row["status"]: row for row in place.outcomes()}
    assert (rows["returned"]["reason"], rows["returned"]["reply"]) == ("too-large", "sent")
    assert rows["handled"]["recipient"] == "2@foo.com"
    assert place.fsck()["ended"] == 2
    assert max(len(sent.as_bytes()) for sent in place.outbox()) < 20_000


def test_a_repeat_without_a_key_is_not_recognised_and_counts_as_a_mail_of_its_own(place: Place, address: str, letter: Letters) -> None:
    whole(address, raw(place), letter("1@foo.com"), place.folder, 3)
    place.drain()
    assert len(place.outcomes("--all")) == 3
    found = place.fsck()
    assert (found["raw"], found["ended"], found["repeated"]) == (3, 3, 0)


def test_with_a_key_a_repeat_is_recognised(place: Place, address: str) -> None:
    """The mail has a Message-ID, hence the same id each time, and the key brings it to the same partition."""
    lines = ["1|Message-ID: <1@bar.com>", "2|Message-ID: <2@bar.com>", "1|Message-ID: <1@bar.com>"]
    console(address, raw(place), lines, parse_key="true", key_separator="|")
    place.drain()
    assert len(place.outcomes()) == 2
    found = place.fsck()
    assert (found["raw"], found["ended"], found["repeated"]) == (3, 2, 1)


def test_with_ce_facts_the_envelope_is_what_they_say(place: Place, address: str) -> None:
    """The recipe of the page is run, and its record is put on the topic by the console producer."""
    (recipe,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict[str, object] = {
        "mail": b"Subject: no word of sender or recipient",
        "sender": "test@canonical.com",
        "recipients": ["5@bar.com"],
    }
    exec(recipe, names)
    facts = names["facts"]
    assert isinstance(facts, bytes)
    assert json.loads(facts)["envelope"]["via"] == "foreign"
    line = f"ce_facts:{facts.decode()}\ttest@canonical.com\tSubject: no word of sender or recipient"
    console(address, raw(place), [line], parse_headers="true", parse_key="true", headers_separator=";")
    place.drain()
    (row,) = place.outcomes()
    assert (row["status"], row["recipient"], row["envelope_sender"]) == ("handled", "5@bar.com", "test@canonical.com")
    assert row["mail_id"] == json.loads(facts)["envelope"]["mail_id"]


def test_ce_facts_that_are_none_fail_that_mail_alone(place: Place, address: str) -> None:
    lines = ["ce_facts:{}\tTo: 1@bar.com", "ce_facts:nonsense\tTo: 2@bar.com", "other:yes\tTo: 3@bar.com"]
    console(address, raw(place), lines, parse_headers="true", headers_separator=";")
    place.drain()
    assert sorted((row["status"], row["reason"]) for row in place.outcomes()) == [
        ("failed", "stage-error"),
        ("failed", "stage-error"),
        ("handled", None),
    ]
    assert place.fsck()["ended"] == 3
