"""E4, E6 and E9 on the whole program: what kills or repeats, and what comes from a newer release."""

import json
import signal
import subprocess

import pytest

from postroom.site import Site
from streams.record import Draft
from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}

DEADLY = """
import os, signal

def handle(mail):
    if mail.recipient.startswith("deadly@"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_e4_a_mail_that_kills_the_process_each_time_is_set_aside(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"h": {"use": "python", "python": "deadly:handle", "domains": ["h.org"]}}, code={"deadly.py": DEADLY})
    place.imported([letter(f"{local}@h.org") for local in ("a", "b", "deadly", "c", "d")])
    for _ in range(6):
        place.run("run", "--drain", status=None)
        if place.status == 0:
            break
        assert place.status == -signal.SIGKILL
    words = {row["recipient"]: (row["status"], row["reason"]) for row in place.outcomes()}
    assert words == {f"{local}@h.org": ("handled", None) for local in "abcd"} | {"deadly@h.org": ("failed", "crashed")}
    assert len(place.outbox()) == 1
    assert place.fsck()["doubled"] == 0


RAISING = """
def handle(mail):
    if mail.recipient.startswith("bad@"):
        raise RuntimeError("cannot")
"""


def test_e4_a_mail_on_which_a_handler_always_raises_fails_and_the_others_go_on(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"h": {"use": "python", "python": "raising:handle", "domains": ["h.org"]}}, code={"raising.py": RAISING})
    place.imported([letter(f"{local}@h.org") for local in ("a", "bad", "b", "bad", "a")])
    place.drain()
    words = sorted((row["recipient"], row["reason"]) for row in place.outcomes())
    assert words == [("a@h.org", None)] * 2 + [("b@h.org", None)] + [("bad@h.org", "handler-error")] * 2
    assert place.fsck()["doubled"] == 0


def _mbox(place: Place, letter: Letters, count: int) -> str:
    return str(place.write("box.mbox", "".join(f"From a@b Mon Mar  2 10:00:00 2026\n{letter('1@foo.com')}\n" for _ in range(count))))


def test_e6_the_same_mailbox_twice_is_each_mail_once(make: MakePlace, letter: Letters, log_url: str) -> None:
    place = make(handlers={"foo": FOO})
    box = _mbox(place, letter, 300)
    first = place.lines("import", box)
    again = place.lines("import", box)
    repeats = (False, True) if log_url.startswith("sqlite") else (None, None)
    assert ([line["repeat"] for line in first], [line["repeat"] for line in again]) == tuple([repeat] * 300 for repeat in repeats)
    assert [line["mail_id"] for line in first] == [line["mail_id"] for line in again]
    place.drain()
    assert len(place.outcomes()) == len(place.maildir("foo")) == 300
    place.lines("import", box)
    place.drain()  # by a process that has seen none of them
    assert len(place.outcomes()) == len(place.maildir("foo")) == 300


def test_e6_an_import_killed_half_way_and_run_again_brings_each_mail_once(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("0@foo.com"))  # the log is there
    box = _mbox(place, letter, 2000)
    with subprocess.Popen(place.command("import", "--json", box), stdout=subprocess.PIPE) as child:
        assert child.stdout
        for _ in range(500):
            assert child.stdout.readline()
        child.kill()
    assert len(place.lines("import", box)) == 2000
    place.drain()
    assert len(place.outcomes()) == 2001
    found = place.fsck()
    assert (found["ended"], found["lost"], found["doubled"]) == (2001, 0, 0)


def test_e6_a_hand_over_repeated_for_one_of_three_recipients_is_each_delivery_once(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    mail = letter("x@foo.com")
    three = [flag for local in ("1", "2", "3") for flag in ("--recipient", f"{local}@foo.com")]
    first = place.mail(mail, *three)
    second = place.mail(mail, "--recipient", "3@FOO.com")
    third = place.mail(mail, "--recipient", "3@foo.com", "--recipient", "4@foo.com")
    assert first == second == third
    place.drain()
    assert sorted(row["recipient"] for row in place.outcomes()) == ["1@foo.com", "2@foo.com", "3@foo.com", "4@foo.com"]
    found = place.fsck()
    assert (found["raw"], found["repeated"], found["doubled"]) == (3, 1, 0)


def test_e9_facts_of_a_newer_version_stop_the_role_with_a_clear_word(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("1@foo.com"))
    site = Site.at(place.folder / "postroom.toml")
    record = next(iter(site.log.read(site.topics.raw)))
    facts = json.loads(record.header("ce_facts") or b"") | {"version": "2.0"}
    headers = tuple((name, json.dumps(facts).encode() if name == "ce_facts" else value) for name, value in record.headers)
    site.log.append([Draft(site.topics.raw, b"newer", record.value, headers)])
    site.close()
    place.drain(status=2)
    assert "2.0" in place.stderr
    assert "upgrade" in place.stderr
    assert len(place.outcomes()) <= 1


def test_two_processes_share_the_work(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.imported([letter(f"{n}@foo.com") for n in range(400)])
    workers = [place.start("run", "--drain") for _ in range(2)]
    assert [worker.wait(240) for worker in workers] == [0, 0]
    assert len(place.outcomes()) == len(place.maildir("foo")) == 400
    assert place.fsck()["doubled"] == 0


@pytest.mark.sqlite_only
def test_a_log_file_that_is_none_of_ours_is_refused_and_not_touched(make: MakePlace) -> None:
    place = make()
    for content in (b"no database at all, just some text" * 100, b""):
        (place.folder / "postroom.db").write_bytes(content)
        place.run("run", "--drain", status=2)
        assert "postroom.db" in place.stderr
        assert (place.folder / "postroom.db").read_bytes() == content
