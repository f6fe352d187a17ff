"""A8, A9 and R1 with handlers on Faust, and what else they may say; one installation, drained once."""

import json
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from streams.kafka import KafkaLog
from streams.record import Draft
from tests.acceptance.place import Letters, Place
from tests.acceptance.test_handlers import CODE, WORDS
from tests.broker.shared import bootstrap
from tests.faust.place import faust_place, imported

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("faust-whole")]

MORE = (
    CODE.replace("async def coroutine", "async def words_")
    + """
import os
from pathlib import Path
from handlers import Attachment, Retry

HERE = Path(__file__).parent
together = asyncio.Barrier(8)

async def again(mail):
    called = HERE / f"called-{mail.delivery_id}"
    with called.open("a") as file:
        file.write("x")
    if mail.recipient.startswith("later@") and called.stat().st_size == 1:
        raise Retry(after=0.1)

async def never(mail):
    raise Retry(why="never again")

async def meet(mail):
    await together.wait()

async def order(mail):
    number = int(mail.message["Subject"].split()[-1])
    await asyncio.sleep(0.02 * (number % 3))
    with (HERE / "order").open("a") as file:
        file.write(f"{mail.sender} {number}\\n")

async def large(mail):
    return Reply("see the attachment", attachments=[Attachment("noise.bin", os.urandom(900_000), "application/octet-stream")])
"""
)
HANDLERS: dict[str, dict[str, Any]] = {
    "words": {"python": "actions:words_", "concurrency": 4, "pause_after": 0},
    "again": {"retry_delays": [1, 1, 1]},
    "never": {"retry_delays": [1, 1, 1], "give_up": "2s"},
    "meet": {"concurrency": 8, "timeout": "20s", "allow_unknown_senders": True},
    "order": {"concurrency": 16, "allow_unknown_senders": True},
    "large": {},
}


class Day(NamedTuple):
    """What the tests look at: the installation after its drain, what the drain logged, and the outcomes by recipient."""

    place: Place
    log: str
    rows: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Every mail of these tests, drained at once."""
    place = faust_place(tmp_path_factory.mktemp("day"), MORE, HANDLERS, sections={"replies": {"per_address_a_day": 100}})
    letter = Letters()
    mails = [letter(f"{local}@words.org") for local in WORDS]
    mails += [letter(recipient) for recipient in ("later@again.org", "at-once@again.org", "x@never.org")]
    mails += [letter("all@meet.org", f"p{number}@elsewhere.org") for number in range(8)]
    for sender in ("p0@elsewhere.org", "p1@elsewhere.org", "p2@elsewhere.org") * 20:
        mails.append(letter("one@order.org", sender, fields=f"Return-Path: <{sender}>\n"))
    mails += [letter("x@large.org")]
    imported(place, mails)
    _foreign_records(place)
    place.drain()
    log = place.stderr
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in place.outcomes():
        rows.setdefault(row["recipient"] or "", []).append(row)
    return Day(place, log, rows)


def _foreign_records(place: Place) -> None:
    """What should not be on mail.routed.words: records of an aborted transaction, and some that are no mails."""
    with closing(KafkaLog(bootstrap(), slot=uuid.uuid4().hex)) as log:
        (topic,) = [name for name in log.topics() if name.endswith(".routed.words") and _prefix(place) in name]
        log.append([Draft(topic, None, b"junk"), Draft(topic, b"key", b"", (("ce_facts", b"{broken"),))])
        producer = Producer({"bootstrap.servers": bootstrap(), "transactional.id": uuid.uuid4().hex})
        producer.init_transactions()
        producer.begin_transaction()
        producer.produce(topic, None, b"no-value")
        producer.commit_transaction()
        producer.begin_transaction()
        for partition in range(log.topics()[topic]):
            producer.produce(topic, b"aborted", b"key", partition)
        producer.flush()
        producer.abort_transaction()


def _prefix(place: Place) -> str:
    return next(line.split('"')[1] for line in (place.folder / "postroom.toml").read_text().splitlines() if line.startswith("prefix"))


def test_a8_a9_r1_what_a_coroutine_says_is_the_outcome(day: Day) -> None:
    words = {recipient.partition("@")[0]: rows for recipient, rows in day.rows.items() if recipient.endswith("@words.org")}
    assert {local: [(row["status"], row["reason"]) for row in rows] for local, rows in words.items()} == {
        local: [word] for local, word in WORDS.items()
    }
    outcome = words["raise"][0]
    assert outcome["mail_id"] in day.log
    assert outcome["oops_id"] in day.log
    assert "Traceback" in day.log
    assert "RuntimeError: secret internals" in day.log
    reply = day.place.reply_about(outcome["oops_id"])
    assert [part.get_content_type() for part in reply.iter_parts()] == ["text/plain", "message/rfc822"]
    assert "secret internals" not in next(reply.iter_parts()).get_content()
    assert "secret internals" in json.dumps(day.place.lines("oops", outcome["oops_id"]))
    refused = [mail for mail in day.place.outbox() if "no such bug" in mail.as_string()]
    assert len(refused) == 1


def test_a_delivery_that_asks_for_time_comes_back_when_it_is_due_and_in_the_end_has_failed(day: Day) -> None:
    (later,), (at_once,), (never,) = (day.rows[recipient] for recipient in ("later@again.org", "at-once@again.org", "x@never.org"))
    assert [row["status"] for row in (later, at_once)] == ["handled", "handled"]
    assert (never["status"], never["reason"], never["detail"]) == ("failed", "gave-up", "never again")
    for row, times in ((later, 2), (at_once, 1)):
        (facts,) = day.place.show(row["mail_id"])["facts"]
        assert facts["outcome"]["attempts"] == times
        assert (day.place.folder / f"called-{row['delivery_id']}").stat().st_size == times


def test_a_mail_that_waits_holds_up_nobody_else_not_even_to_the_same_recipient(day: Day) -> None:
    """Each of eight mails waits until all eight are being handled."""
    assert [row["status"] for row in day.rows["all@meet.org"]] == ["handled"] * 8


def test_mails_of_one_sender_to_one_recipient_are_handled_in_their_order(day: Day) -> None:
    lines = [line.split() for line in (day.place.folder / "order").read_text().splitlines()]
    assert len(lines) == 60
    for sender in ("p0", "p1", "p2"):
        numbers = [int(number) for author, number in lines if author.startswith(sender)]
        assert numbers == sorted(numbers)


def test_a_reply_larger_than_a_record_goes_by_the_archive(day: Day) -> None:
    assert [row["reply"] for row in day.rows["x@large.org"]] == ["sent"]
    (reply,) = [mail for mail in day.place.outbox() if "see the attachment" in mail.as_string()]
    assert any(part.get_filename() == "noise.bin" and len(part.get_payload(decode=True)) == 900_000 for part in reply.walk())


def test_records_of_an_aborted_transaction_are_not_handled_and_junk_ends_as_a_failure(day: Day) -> None:
    rows = [row for rows in day.rows.values() for row in rows if row["reason"] == "stage-error"]
    assert len(rows) == 3
    found = day.place.lines("fsck", status=None)[0]
    assert (found["lost"], found["doubled"], found["stuck"], found["on_its_way"]) == (0, 0, 0, 0)
    assert found["ended"] == found["raw"]


def test_lag_counts_the_words_that_are_still_to_be_settled(day: Day) -> None:
    rows = {row["group"].rpartition(".settle.")[2]: row for row in day.place.lines("lag") if ".settle." in row["group"]}
    assert rows.keys() == HANDLERS.keys()
    for name, row in rows.items():
        assert row["topic"].endswith(f".said.{name}")
        assert row["behind"] == 0


def test_nothing_of_fausts_own_is_left_behind(day: Day, tmp_path: Path) -> None:
    """Neither topics of its own nor a data folder."""
    with closing(KafkaLog(bootstrap(), slot=uuid.uuid4().hex)) as log:
        assert not [name for name in log.topics() if "__assignor" in name or "changelog" in name]
    assert not list(day.place.folder.glob("*-data"))
