"""E1 and E4 with handlers on Faust: a mail that kills the process each time, five kills from outside, and workers that come and go."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.place import Letters, Place
from tests.faust.place import faust_place, imported

pytestmark = [pytest.mark.kafka]

CODE = """
import asyncio, os, random, signal
from pathlib import Path
from handlers import Refuse

CALLS = Path(__file__).with_name("calls")
BOTH = Path(__file__).with_name("both")

async def deadly(mail):
    if mail.recipient.startswith("deadly@"):
        os.kill(os.getpid(), signal.SIGKILL)

async def shared(mail):
    with CALLS.open("a") as file:
        file.write(f"{mail.delivery_id}-{os.getpid()}\\n")
    await asyncio.sleep(0.1 if BOTH.exists() else 1)

async def many(mail):
    with CALLS.open("a") as file:
        file.write(mail.delivery_id + "\\n")
    await asyncio.sleep(random.random() / 10)
    if mail.recipient.startswith("7"):
        raise Refuse("no sevens")
"""


def calls(place: Place) -> list[str]:
    """What the handlers wrote down when they were called: delivery ids."""
    path = place.folder / "calls"
    return path.read_text().split() if path.exists() else []


def test_e4_a_mail_that_kills_the_process_each_time_is_set_aside(tmp_path: Path) -> None:
    place = faust_place(tmp_path, CODE, {"deadly": {"concurrency": 4}})
    letter = Letters()
    imported(place, [letter(f"{local}@deadly.org") for local in ("a", "b", "deadly", "c", "d")])
    place.drain("chain")
    deaths = 0
    for _ in range(6):
        place.run("run", "handler:deadly", "settle", "--drain", status=None)
        if place.status == 0:
            break
        assert place.status == -signal.SIGKILL
        deaths += 1
    place.drain()
    words = {row["recipient"].partition("@")[0]: (row["status"], row["reason"]) for row in place.outcomes()}
    assert words == dict.fromkeys("abcd", ("handled", None)) | {"deadly": ("failed", "crashed")}
    assert 3 <= deaths <= 4
    assert len(place.outbox()) == 1
    assert place.fsck()["ended"] == 5


def test_e1_five_kills_leave_each_delivery_one_outcome_and_lose_none(tmp_path: Path) -> None:
    place = faust_place(tmp_path, CODE, {"many": {"concurrency": 16}}, sections={"replies": {"per_address_a_day": 1000}})
    letter = Letters()
    mails = 300
    imported(place, [letter(f"{number % 40}@many.org") for number in range(mails)])
    for _ in range(5):
        # Long enough a life for some deliveries to be settled: whoever dies on the same ones four times over sets them aside.
        before, more = len(calls(place)), random.randint(25, 50)
        worker = place.start("run")
        while len(calls(place)) < before + more:
            assert worker.poll() is None
            time.sleep(0.005)
        worker.kill()
        worker.wait()
    place.drain()
    rows = place.outcomes()
    assert Counter(row["delivery_id"] for row in rows) == Counter(set(calls(place)))
    assert len(rows) == mails
    assert {(row["recipient"][0] == "7", row["status"]) for row in rows} == {(True, "returned"), (False, "handled")}
    assert len(place.outbox()) == sum(row["status"] == "returned" for row in rows)
    found = place.fsck()
    assert (found["raw"], found["ended"]) == (mails, mails)


def test_workers_that_come_and_go_in_good_order_call_nobody_twice(tmp_path: Path) -> None:
    """The partitions are shared out anew with deliveries under way, and each is called once all the same."""
    place = faust_place(tmp_path, CODE, {"shared": {"concurrency": 4}})
    letter = Letters()
    mails = 150
    imported(place, [letter(f"{number % 40}@shared.org") for number in range(mails)])
    place.drain("chain")
    first = place.start("run", "handler:shared", "settle")
    _until(lambda: len(calls(place)) > 3)
    second = place.start("run", "handler:shared", "settle")
    _until(lambda: len({pid for _, pid in _shared(place)}) == 2)
    place.write("both", "")  # until then they take their time, so that there is something left for the second
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    _until(lambda: len(_shared(place)) >= mails)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0
    place.drain()
    assert Counter(id_ for id_, _ in _shared(place)).most_common(1)[0][1] == 1
    assert len(place.outcomes()) == mails
    assert place.fsck()["ended"] == mails


def _shared(place: Place) -> list[tuple[str, str]]:
    """Delivery ids with the process that was called."""
    return [(id_, pid) for id_, _, pid in (call.partition("-") for call in calls(place))]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
