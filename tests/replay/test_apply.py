"""A replay that is applied: what failed is handled once, nobody is written to, and an interrupted one goes on where it was."""

import os
import signal
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest

from postroom.reading.selectors import Selectors
from postroom.replay.apply import Apply, Pace
from postroom.replay.claim import Claim, Superseded
from postroom.replay.marker import Marker
from postroom.replay.selection import Selection
from postroom.site import Site, now_ms
from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place
from topology.facts import rfc3339

MANY = 300
BROKEN = """
def handle(mail):
    raise KeyError("no such bug")
"""
FIXED = """
import pathlib
def handle(mail):
    with pathlib.Path(__file__).with_name("effects").open("a") as file:
        file.write(mail.idempotency_key + " " + str(mail.generation) + "\\n")
"""
PYTHON = {"use": "python", "python": "actions:handle", "domains": ["bugs.org"], "pause_after": 0}


def effects(place: Place) -> list[str]:
    path = place.folder / "effects"
    return path.read_text().splitlines() if path.exists() else []


def broken(make: MakePlace, letter: Letters, count: int) -> Place:
    """A place whose handler fails on so many mails."""
    place = make(handlers={"bugs": PYTHON}, code={"actions.py": BROKEN}, sections={"replies": {"answer": "anyone"}})
    place.imported([letter("1@bugs.org") for _ in range(count)])
    place.drain()
    return place


def test_a_handler_bug_fails_many_mails_and_after_the_fix_a_replay_by_its_cause_brings_all_of_them_to_handled(
    make: MakePlace, letter: Letters
) -> None:
    place = broken(make, letter, MANY)
    written = len(place.outbox())
    (group,) = place.lines("failures")
    assert (group["count"], group["reason"]) == (MANY, "handler-error")
    place.write("actions.py", FIXED)
    cause = ("--fingerprint", group["fingerprint"])

    (found,) = place.lines("replay", *cause, status=1)
    (change,) = found["changes"]
    assert (change["count"], change["before"]["reason"], change["after"]["handler"]) == (MANY, "handler-error", "bugs")
    assert effects(place) == []

    (done,) = place.lines("replay", *cause, "--apply", "--why", "the key was misspelt")
    assert (done["mails"], done["already_in"]) == (MANY, 0)
    (again,) = place.lines("replay", *cause, "--apply")
    assert (again["generation"], again["left_out"]["on_its_way"]) == (None, MANY)
    place.drain()
    rows = place.outcomes()
    assert {(row["status"], row["generation"]) for row in rows} == {("handled", done["generation"])}
    assert len(rows) == MANY
    assert sorted(line.split()[0] for line in effects(place)) == sorted(row["delivery_id"] for row in rows)
    assert len(place.outbox()) == written
    assert len(place.outcomes("--all")) == 2 * MANY
    assert place.lines("failures") == []
    assert place.fsck()["ended"] == MANY
    shown = place.show(rows[0]["mail_id"])
    assert [facts["outcome"]["status"] for facts in shown["facts"]] == ["handled"]
    (nothing,) = place.lines("replay", *cause, "--apply")
    assert (nothing["generation"], nothing["mails"]) == (None, 0)


def test_what_fails_again_is_answered_only_where_replies_are_asked_for(make: MakePlace, letter: Letters) -> None:
    place = broken(make, letter, 1)
    assert len(place.outbox()) == 1
    place.run("replay", "--status", "failed", "--apply")
    place.drain()
    assert (place.outcomes()[0]["reply"], len(place.outbox())) == ("silent:replay", 1)
    place.run("replay", "--status", "failed", "--apply", "--replies")
    place.drain()
    assert (place.outcomes()[0]["reply"], len(place.outbox())) == ("sent", 2)
    assert [row["status"] for row in place.outcomes("--all")] == ["failed"] * 3
    place.fsck()


@pytest.mark.parametrize("stage", ["bounce-filter", "authentication", "routing", "handler"])
def test_from_every_stage_only_the_failed_deliveries_of_a_mail_are_made_again(make: MakePlace, letter: Letters, stage: str) -> None:
    """One mail to two handlers, one of which fails, and to an address of none."""
    place = make(handlers={"bugs": PYTHON, "box": {"use": "maildir", "path": "box/", "domains": ["box.org"]}}, code={"actions.py": BROKEN})
    to = ("1@bugs.org", "2@bugs.org", "1@box.org", "1@nowhere.org")
    mail_id = place.mail(letter("x@box.org"), *(word for one in to for word in ("--recipient", one)))
    place.drain()
    place.write("actions.py", FIXED)
    place.run("replay", "--id", mail_id, "--from", stage, "--apply")
    place.drain()
    words = {row["recipient"]: (row["status"], row["generation"]) for row in place.outcomes()}
    number = words["1@bugs.org"][1]
    assert number > 0
    assert words == {
        "1@bugs.org": ("handled", number),
        "2@bugs.org": ("handled", number),
        "1@box.org": ("handled", 0),
        "1@nowhere.org": ("failed", number),
    }
    assert len(place.maildir("box")) == 1
    assert len(effects(place)) == 2
    assert place.fsck()["ended"] == 1


@pytest.mark.sqlite_only
def test_a_redo_handles_again_under_another_idempotency_key(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"bugs": PYTHON}, code={"actions.py": FIXED})
    place.mail(letter("1@bugs.org"))
    place.drain()
    (done,) = place.lines("replay", "--handler", "bugs", "--apply")
    assert (done["generation"], done["left_out"]["handled"]) == (None, 1)
    (done,) = place.lines("replay", "--handler", "bugs", "--apply", "--redo")
    place.drain()
    keys = [line.split() for line in effects(place)]
    assert [generation for _, generation in keys] == ["0", str(done["generation"])]
    assert keys[0][0] != keys[1][0]
    place.fsck()


@pytest.mark.sqlite_only
def test_a_rule_that_is_switched_off_lets_dropped_mail_through_and_one_that_fires_again_drops_it(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"bugs": PYTHON}, code={"actions.py": FIXED})
    place.imported([letter("1@bugs.org", fields="Precedence: bulk\n"), letter("1@bugs.org", fields="Auto-Submitted: auto-replied\n")])
    place.drain()
    with (place.folder / "postroom.toml").open("a") as file:
        file.write("[bounce_filter]\nrules = { precedence = false }\n")
    (done,) = place.lines("replay", "--status", "dropped", "--apply")
    place.drain()
    words = {(row["status"], row["reason"], row["generation"]) for row in place.outcomes()}
    assert words == {("handled", None, done["generation"]), ("dropped", "auto-submitted", done["generation"])}
    assert place.fsck()["ended"] == 2


def test_a_replay_that_was_killed_goes_on_and_brings_nothing_in_twice(make: MakePlace, letter: Letters) -> None:
    place = broken(make, letter, 40)
    place.write("actions.py", FIXED)
    running = started(place, "replay", "--status", "failed", "--apply", "--rate", "5")
    wait_for(lambda: len(place.lines("list", "--pending")) >= 10)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    inside = len(place.lines("list", "--pending"))
    assert 10 <= inside < 40

    place.run("replay", "--status", "failed", "--apply", status=75)
    number = place.stderr.partition("--resume ")[2].partition("`")[0]
    place.drain()
    (done,) = place.lines("replay", "--resume", number)
    assert (done["already_in"], done["mails"]) == (inside, 40 - inside)
    place.drain()
    assert {(row["status"], row["generation"]) for row in place.outcomes()} == {("handled", int(number))}
    assert len(effects(place)) == 40
    assert len(set(effects(place))) == 40
    (done,) = place.lines("replay", "--resume", number)
    assert done["mails"] == 0
    assert place.fsck()["ended"] == 40


@pytest.mark.parametrize(("call", "why", "inside"), [("--resume", "was taken up by", 4), ("--abandon", "was finished or given up", 1)])
def test_who_finds_that_another_has_taken_a_replay_up_or_ended_it_brings_no_more_in(
    make: MakePlace, letter: Letters, call: str, why: str, inside: int
) -> None:
    """The other comes while this one waits after its first mail."""
    place = broken(make, letter, 4)
    place.write("actions.py", FIXED)
    with closing(Site.at(place.folder / "postroom.toml")) as site:
        failed = Selectors(status=("failed",))
        marker = Marker(rfc3339(now_ms()), "me", None, failed, "bounce-filter", "then", redo=False, replies=False, limit=None)
        chosen = Selection(site.log, site.topics, failed.filter(marker.at_ms), every=False)
        marker = marker.bounded(chosen.ends)
        number = marker.append(site.log, site.topics)

        def another(_seconds: float) -> None:
            place.run("replay", call, str(number))

        pace = Pace(1, clock=lambda: 0.0, sleep=another)
        with pytest.raises(Superseded, match=why):
            Apply(site, marker, Claim(site.log, site.topics, number, number)).bring(chosen, frozenset(), pace, lambda _count: None)
    assert len(place.lines("list", "--pending")) == inside
    place.drain()
    assert len(effects(place)) == len(set(effects(place))) == inside
    assert place.fsck()["ended"] == 4


@pytest.mark.sqlite_only
def test_beside_a_replay_that_is_bringing_mails_in_no_other_begins_goes_on_or_gives_it_up(make: MakePlace, letter: Letters) -> None:
    place = broken(make, letter, 3)
    place.write("actions.py", FIXED)
    for brought_in, call in enumerate((("--status", "failed", "--apply"), ("--resume", "1")), start=1):
        running = started(place, "replay", *call, "--rate", "0.01")
        wait_for(lambda count=brought_in: len(place.lines("list", "--pending")) == count)
        for other in (("--status", "failed", "--apply"), ("--resume", "1"), ("--abandon", "1")):
            place.run("replay", *other, status=75)
            assert "another `postroom replay` is bringing mails in" in place.stderr
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        place.run("replay", "--status", "failed", "--apply", status=75)
        assert "--resume 1" in place.stderr
    (done,) = place.lines("replay", "--resume", "1")
    assert (done["already_in"], done["mails"]) == (2, 1)
    place.drain()
    assert len(effects(place)) == len(set(effects(place))) == 3
    place.run("replay", "--status", "failed", "--apply")
    place.fsck()


def started(place: Place, *args: str) -> "subprocess.Popen[bytes]":
    """A command in a process group of its own."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(place.command(*args), stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.sqlite_only
def test_an_interrupted_replay_can_be_given_up(make: MakePlace, letter: Letters) -> None:
    place = broken(make, letter, 2)
    running = started(place, "replay", "--status", "failed", "--apply", "--rate", "0.05")
    wait_for(lambda: len(place.lines("list", "--pending")) == 1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    place.run("replay", "--status", "failed", "--apply", status=75)
    place.run("replay", "--abandon", "1")
    (done,) = place.lines("replay", "--status", "failed", "--apply")
    assert (done["mails"], done["left_out"]["on_its_way"]) == (1, 1)
    place.drain()
    assert {row["generation"] for row in place.outcomes()} == {1, done["generation"]}
    place.fsck()


@pytest.mark.sqlite_only
def test_a_limit_takes_the_oldest(make: MakePlace, letter: Letters) -> None:
    place = broken(make, letter, 5)
    (done,) = place.lines("replay", "--status", "failed", "--apply", "--limit", "2")
    assert done["mails"] == 2
    place.drain()
    assert sorted(row["generation"] for row in place.outcomes()) == [0, 0, 0, done["generation"], done["generation"]]


def test_a_mail_signed_with_a_key_that_is_gone_is_judged_by_the_chain_as_it_was(make: MakePlace) -> None:
    from tests.replay.test_preview import signed

    place, mail_id = signed(make)
    place.write("zone.json", "{}")
    place.run("replay", "--id", mail_id, "--apply", "--redo")
    place.drain()
    row = place.outcome(mail_id)
    assert (row["status"], row["strength"], row["generation"] > 0) == ("handled", "strong", True)
    place.run("replay", "--id", mail_id, "--apply", "--redo", "--as-of", "now")
    place.drain()
    assert place.word(mail_id) == ("returned", "strong-required")
    place.fsck()


@pytest.mark.sqlite_only
def test_apply_refuses_what_it_cannot_keep(make: MakePlace, letter: Letters) -> None:
    place = broken(make, letter, 1)
    place.run("replay", "--apply", status=2)
    place.run("replay", "--status", "failed", "--apply", "--settings", "other.toml", status=2)
    place.run("replay", "--resume", "9", status=1)
    assert "no replay 9" in place.stderr
    place.run("replay", "--resume", "9", "--status", "failed", status=2)
