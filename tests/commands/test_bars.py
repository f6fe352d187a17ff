"""Long work on a terminal: a bar on standard error, and nothing of it in what goes elsewhere."""

import os
import pty
import subprocess
import threading
from pathlib import Path

import orjson
import pytest

from tests.acceptance.place import Letters, Place
from tests.broker.broker import free_port

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO})
    letter = Letters()
    (place.folder / "mails").mkdir()
    for number in range(300):
        place.write(f"mails/{number}.eml", letter(f"{number}@foo.com"))
    return place


def on_a_terminal(place: Place, *args: str) -> tuple[bytes, bytes]:
    """Standard output, and what a terminal on standard error was sent."""
    ours, theirs = pty.openpty()
    seen = bytearray()

    def look() -> None:
        try:
            while more := os.read(ours, 4096):
                seen.extend(more)
        except OSError:  # the other side is closed
            pass

    looking = threading.Thread(target=look)
    looking.start()
    try:
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
        done = subprocess.run(
            place.command(*args), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=environment
        )
    finally:
        os.close(theirs)
        looking.join()
        os.close(ours)
    return done.stdout, bytes(seen)


def test_long_work_shows_how_far_it_has_come(place: Place) -> None:
    stored, seen = on_a_terminal(place, "import", str(place.folder / "mails"), "--json")
    assert b"importing" in seen
    assert len([orjson.loads(line) for line in stored.splitlines()]) == 300
    stored, seen = on_a_terminal(place, "run", "--drain")
    assert (stored, b"processing" in seen, b"records" in seen) == (b"", True, True)
    stored, seen = on_a_terminal(place, "fsck", "--json")
    assert orjson.loads(stored)["ended"] == 300
    assert b"accounting" in seen
    assert b"/1200" in seen.replace(b" ", b"")  # raw, screened, routed and outcome of each


def test_nothing_of_it_is_written_where_nobody_looks(place: Place) -> None:
    for args in (("import", str(place.folder / "mails")), ("run", "--drain"), ("fsck",)):
        place.run(*args)
        assert [word for word in ("importing", "processing", "accounting", "\x1b", "\r") if word in place.stderr] == []


def test_who_starts_the_roles_on_a_terminal_is_told_what_runs_and_where_it_listens(tmp_path: Path) -> None:
    port = free_port()
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, sections={"ingest": {"lmtp": f"127.0.0.1:{port}"}})
    ours, theirs = pty.openpty()
    running = subprocess.Popen(place.command("run"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours, "rb") as terminal:
            said = terminal.readline().decode()
    finally:
        running.terminate()
        running.wait()
    assert said.startswith(f"postroom: running lmtp on 127.0.0.1:{port}, ")
    assert "chain, handler:foo, replyer" in said
