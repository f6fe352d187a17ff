"""A bad day: a handler's bug fails thousands of mails, it is mended, and a replay by its cause brings all of them to `handled`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place

BROKEN = """
def handle(mail):
    if "date" in mail.recipient:
        raise ValueError("no such month: Sept")
"""
MENDED = """
from pathlib import Path

EFFECTS = Path(__file__).with_name("effects")

def handle(mail):
    with EFFECTS.open("a") as effects:
        effects.write(f"{mail.delivery_id} {mail.generation}\\n")
"""
BUGS = {"use": "python", "python": "actions:handle", "domains": ["bugs.org"], "pause_after": 0, "allow_unknown_senders": True}


def box(path: Path, letters: Iterator[str]) -> str:
    """The mails in an mbox file."""
    path.write_text("".join(f"From a@b Mon Mar  2 10:00:00 2026\n{letter}\n" for letter in letters))
    return str(path)


def the_day(make: MakePlace, letter: Letters, mails: int) -> Place:
    """So many mails fail, and some that are none of the handler's fault."""
    place = make(handlers={"bugs": BUGS}, code={"actions.py": BROKEN}, sections={"replies": {"answer": "anyone"}})
    letters = (letter(f"date-{n}@bugs.org", sender=f"person{n % 40}@people.org") for n in range(mails))
    place.run("import", box(place.folder / "day.mbox", letters))
    place.imported([letter("1@bugs.org", fields="Precedence: bulk\n"), letter("1@nowhere.org")])
    place.drain()
    return place


@pytest.mark.sqlite_only
def test_5000_mails_that_a_bug_failed_are_handled_once_after_it_is_mended(make: MakePlace, letter: Letters) -> None:
    """The whole number on the embedded log; tests/replay tells the same of fewer on Kafka. docs/replay.md tells it to people."""
    mails = 5000
    place = the_day(make, letter, mails)
    group, nowhere = place.lines("failures")
    assert (group["count"], group["reason"], group["handler"]) == (mails, "handler-error", "bugs")
    assert (nowhere["count"], nowhere["reason"]) == (1, "no-handler")
    heard = len(place.outbox())
    place.write("actions.py", MENDED)
    cause = ("--fingerprint", group["fingerprint"])

    (found,) = place.lines("replay", *cause, status=1)
    assert f"{mails:,} mails with {mails:,} deliveries are selected" in place.stderr
    (change,) = found["changes"]
    assert (change["count"], change["before"]["reason"], change["after"]["handler"]) == (mails, "handler-error", "bugs")
    assert not (place.folder / "effects").exists()

    (few,) = place.lines("replay", *cause, "--apply", "--limit", "10", "--why", "months, bug 4711: a first few")
    place.drain()
    (rest,) = place.lines("replay", *cause, "--apply", "--why", "months, bug 4711")
    place.drain()
    assert (few["mails"], rest["mails"]) == (10, mails - 10)
    rows = place.outcomes("--handler", "bugs")
    assert {(row["status"], row["generation"]) for row in rows} == {("handled", few["generation"]), ("handled", rest["generation"])}
    assert len(rows) == mails
    effects = [line.split() for line in (place.folder / "effects").read_text().splitlines()]
    assert sorted(delivery for delivery, _ in effects) == sorted(row["delivery_id"] for row in rows)
    assert len(place.outbox()) == heard
    assert place.lines("failures") == [nowhere]
    (settled,) = place.lines("failures", "--resolved")
    assert (settled["count"], settled["resolved"], settled["replays"]) == (0, mails, sorted((few["generation"], rest["generation"])))
    assert place.fsck()["ended"] == mails + 2
