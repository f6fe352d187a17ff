"""A8 to A10, R1 and E10: what handlers do, and what becomes of it, on the whole program."""

import os
import signal
import time
from contextlib import chdir, closing
from pathlib import Path

import psycopg2
import pytest

from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place, words_of

CODE = """
import asyncio
from handlers import Refuse, Reply

class Unauthorized(Exception):
    "What a web front end would turn into a log-in page, and not report."
    __lazr_webservice_error__ = 401

def words(mail):
    local = mail.recipient.partition("@")[0]
    if local == "raise":
        raise RuntimeError("secret internals")
    if local == "unauthorized":
        raise Unauthorized("log in first")
    if local == "refuse":
        raise Refuse("no such bug")
    if local == "exit":
        raise SystemExit(3)
    return {"none": None, "true": True, "false": False, "odd": 17, "reply": Reply("done, thank you")}[local]

def plain(mail):
    return words(mail)

async def coroutine(mail):
    await asyncio.sleep(0)
    return words(mail)
"""
WORDS = {
    "none": ("handled", None),
    "true": ("handled", None),
    "reply": ("handled", None),
    "false": ("failed", "handler-false"),
    "raise": ("failed", "handler-error"),
    "unauthorized": ("failed", "handler-error"),
    "odd": ("failed", "handler-error"),
    "exit": ("failed", "handler-error"),
    "refuse": ("returned", "refused"),
}


@pytest.mark.parametrize("function", ["plain", "coroutine"])
def test_a8_a9_r1_what_a_handler_says_is_the_outcome(make: MakePlace, letter: Letters, function: str) -> None:
    place = make(handlers={"h": {"use": "python", "python": f"actions:{function}", "domains": ["h.org"]}}, code={"actions.py": CODE})
    originals = {local: letter(f"{local}@h.org") for local in WORDS}
    place.imported(list(originals.values()))
    place.drain()
    log = place.stderr
    rows = {row["recipient"].partition("@")[0]: row for row in place.outcomes()}
    assert {local: (row["status"], row["reason"]) for local, row in rows.items()} == WORDS
    for local in ("raise", "unauthorized"):  # an error is logged with the traceback and the mail id, and the sender gets the id only
        assert rows[local]["mail_id"] in log
        assert rows[local]["oops_id"] in log
        reply = place.reply_about(rows[local]["oops_id"])
        assert reply.get_content_type() == "multipart/mixed"
        assert [part.get_content_type() for part in reply.iter_parts()] == ["text/plain", "message/rfc822"]
        assert "secret internals" not in next(reply.iter_parts()).get_content()
    assert "RuntimeError: secret internals" in log
    assert "Traceback" in log
    failed = sum(status == "failed" for status, _ in WORDS.values())
    assert len(place.outbox()) == failed + 2
    refused = [mail for mail in place.outbox() if "no such bug" in words_of(mail)]
    assert len(refused) == 1
    assert "OOPS" not in words_of(refused[0])
    assert place.fsck()["doubled"] == 0


def test_r1_the_words_of_a_refusal_are_wrapped_and_the_original_is_cut(make: MakePlace, letter: Letters) -> None:
    long_word = "x" * 100
    code = f'from handlers import Refuse\n\ndef handle(mail):\n    raise Refuse("word " * 40 + "{long_word}")\n'
    place = make(handlers={"h": {"use": "python", "python": "refusing:handle", "domains": ["h.org"]}}, code={"refusing.py": code})
    place.mail(letter("1@h.org", body="line of text\n" * 20_000))
    place.drain()
    (reply,) = place.outbox()
    first, last = reply.iter_parts()
    lines = first.get_content().splitlines()
    assert all(len(line) <= 72 or line == long_word for line in lines)
    assert long_word in lines
    assert 60_000 < len(last.as_bytes()) < 68_000


SQL = """
from handlers import Reply

def handle(mail):
    with mail.db.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS effects (delivery text)")
        cursor.execute("INSERT INTO effects VALUES (%s)", (mail.delivery_id,))
        if mail.recipient.startswith("zero@"):
            cursor.execute("SELECT 1/0")
"""


@pytest.mark.postgres
def test_a10_failing_sql_ends_one_mail_and_leaves_the_next_unharmed(make: MakePlace, letter: Letters, database: str) -> None:
    place = make(
        handlers={"h": {"use": "python", "python": "sql:handle", "domains": ["h.org"], "database": database}}, code={"sql.py": SQL}
    )
    bad, good = (str(line["mail_id"]) for line in place.imported([letter("zero@h.org"), letter("fine@h.org")]))
    place.drain()
    assert "DivisionByZero" in place.stderr
    assert place.word(bad) == ("failed", "handler-error")
    assert place.word(good) == ("handled", None)
    assert len(place.outbox()) == 1
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM effects")
        assert cursor.fetchone() == (1,)
    place.drain()
    assert len(place.outcomes()) == 2


def test_e10_a_folder_named_handlers_beside_the_settings_hides_nothing(make: MakePlace, letter: Letters) -> None:
    place = make(
        handlers={"h": {"use": "python", "python": "mine:handle", "domains": ["h.org"]}},
        code={"mine.py": "from handlers import Reply\n\ndef handle(mail):\n    return True\n"},
    )
    for name in ("handlers", "streams", "topology", "postroom"):
        (place.folder / name).mkdir()
        (place.folder / name / "__init__.py").write_text("raise RuntimeError('hidden')\n")
    place.mail(letter("1@h.org"))
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"]


COMMAND = """#!/bin/sh
cat >/dev/null
case "$POSTROOM_RECIPIENT" in
  ok@*) exit 0 ;;
  refuse@*) echo "the shop is closed"; exit 65 ;;
  crash@*) echo "stack trace" >&2; exit 70 ;;
  killed@*) kill -9 $$ ;;
esac
"""


def test_the_command_handler_maps_exit_statuses(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"c": {"use": "command", "command": ["./act.sh"], "domains": ["c.org"]}})
    place.write("act.sh", COMMAND).chmod(0o755)
    place.imported([letter(f"{local}@c.org") for local in ("ok", "refuse", "crash", "killed")])
    place.drain()
    rows = {row["recipient"].partition("@")[0]: (row["status"], row["reason"]) for row in place.outcomes()}
    assert rows == {
        "ok": ("handled", None),
        "refuse": ("returned", "refused"),
        "crash": ("failed", "handler-error"),
        "killed": ("failed", "handler-error"),
    }


FORKS = """
import asyncio
import os

def forked(mail):
    "The child, or 0 in it, which then comes back in one way or another."
    with open("calls", "a") as calls:
        print(mail.delivery_id, file=calls)
    child = os.fork()
    if not child and mail.recipient.startswith("raises@"):
        os.execvp("/nowhere/program", ["program"])
    if child:
        with open("children", "a") as children:
            print(child, file=children)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

def plain(mail):
    child = forked(mail)
    return ended(child) if child else None

async def coroutine(mail):
    child = forked(mail)
    if not child and mail.recipient.startswith("waits@"):
        await asyncio.sleep(0)
    return ended(child) if child else None
"""


@pytest.mark.parametrize("with_database", [False, pytest.param(True, marks=pytest.mark.postgres)])
@pytest.mark.parametrize("function", ["plain", "coroutine"])
def test_a_forked_process_that_comes_back_from_a_handler_goes_no_further(
    make: MakePlace, letter: Letters, request: pytest.FixtureRequest, function: str, with_database: bool
) -> None:
    handler = {"use": "python", "python": f"forks:{function}", "domains": ["h.org"], "timeout": "10s"}
    if with_database:
        handler["database"] = request.getfixturevalue("database")
    place = make(handlers={"h": handler}, code={"forks.py": FORKS})
    place.imported([letter(f"{local}@h.org") for local in ("returns", "raises", "waits", "returns-too")])
    with chdir(place.folder):
        place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"] * 4
    calls = (place.folder / "calls").read_text().split()
    assert len(calls) == len(set(calls)) == 4
    left = [child for child in map(int, (place.folder / "children").read_text().split()) if Path(f"/proc/{child}").exists()]
    for child in left:
        os.kill(child, signal.SIGKILL)
    assert not left


HANGS = """
import asyncio
import threading
import time
from pathlib import Path

async def overruns(mail):
    Path("called").touch()
    await asyncio.to_thread(time.sleep, 3600)

def leaves_a_thread(mail):
    Path("called").touch()
    threading.Thread(target=time.sleep, args=(3600,), name="left", daemon=False).start()

async def is_done(mail):
    Path("called").touch()
    await asyncio.to_thread(time.sleep, 0)
"""


def hanging(make: MakePlace, function: str) -> Place:
    """With a handler that is one of these functions."""
    handler = {"use": "python", "python": f"hangs:{function}", "domains": ["h.org"], "timeout": "1s" if function == "overruns" else "60s"}
    return make(handlers={"h": handler}, code={"hangs.py": HANGS})


@pytest.mark.parametrize(
    ("function", "status", "thread"), [("overruns", 75, "asyncio_0"), ("leaves_a_thread", 0, "left"), ("is_done", 0, "")]
)
def test_a_thread_of_a_handler_that_does_not_end_keeps_no_drain(
    make: MakePlace, letter: Letters, function: str, status: int, thread: str
) -> None:
    place = hanging(make, function)
    place.mail(letter("1@h.org"))
    with chdir(place.folder):
        place.run("run", "--drain", "--patience", "1s", status=status)
    assert [line.rpartition(": ")[2] for line in place.stderr.splitlines() if "still run" in line] == ([thread] if thread else [])


@pytest.mark.parametrize("function", ["overruns", "leaves_a_thread"])
def test_a_thread_of_a_handler_that_does_not_end_keeps_no_stop(make: MakePlace, letter: Letters, function: str) -> None:
    place = hanging(make, function)
    place.mail(letter("1@h.org"))
    with chdir(place.folder):
        running = place.start("run")
    while not (place.folder / "called").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.terminate()
    assert running.wait(60) == 0
