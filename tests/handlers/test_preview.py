"""A handler's own preview: `postroom replay` asks it what `handle` would say, and nothing is done."""

import json
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import SAMPLE
from tests.acceptance.place import Letters, Place
from tests.database import Server
from tests.handlers.sql import ask, done

CODE = """
from pathlib import Path

from handlers import Refuse, Reply, Retry

HERE = Path(__file__).parent


def handle(mail):
    what(mail)
    with mail.db.cursor() as cursor:
        cursor.execute("INSERT INTO done VALUES (%s)", (mail.recipient,))
    return Reply("done")


def preview(mail):
    (HERE / "previewed").open("a").write(mail.recipient + "\\n")
    with mail.db.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM done")
        if mail.recipient.startswith("count"):
            raise Refuse(f"{cursor.fetchone()[0]} are done")
        if mail.recipient.startswith("write"):
            cursor.execute("SET TRANSACTION READ WRITE" if "force" in mail.recipient else "INSERT INTO done VALUES ('preview')")
    what(mail)
    return Reply("would be done")


def what(mail):
    if mail.recipient.startswith("broken") and not (HERE / "mended").exists():
        raise ValueError("broken")
    if mail.recipient.startswith("later"):
        raise Retry(why="not yet")
"""
MANY = """
async def one(mail):
    raise ValueError("not called")


async def tried(mail):
    return False


one.preview = tried


def other(mail):
    return None
"""


def changes(place: Place, *args: str, status: int) -> dict[str, int]:
    """The table of a preview."""
    (found,) = place.lines("replay", *args, status=status)
    return {f"{told(row['before'])} -> {told(row['after'])}": row["count"] for row in found["changes"]}


def told(word: dict[str, Any]) -> str:
    return " ".join(filter(None, (word["status"] or f"handler:{word['handler']}", word["reason"])))


def test_a_preview_says_what_the_handler_would_and_leaves_the_database_as_it_was(tmp_path: Path, database: str, postgres: Server) -> None:
    ask(database, "CREATE TABLE done (what text)")
    handler = {"use": "python", "python": "acts:handle", "domains": ["foo.com"], "database": database, "pause_after": 0}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"bugs": handler}, accounts=[SAMPLE], code={"acts.py": CODE})
    letter = Letters()
    names = ["fine", "broken-1", "broken-2", "count", "write", "write-by-force"]
    place.imported([letter(f"{name}@foo.com") for name in names])
    place.drain()
    before = done(database)
    effects = ask(database, "SELECT count(*) FROM postroom_effects")
    assert changes(place, status=1) == {
        "handled -> handled": 1,
        "failed handler-error -> failed handler-error": 2,
        "handled -> returned refused": 1,
        "handled -> failed handler-error": 2,
    }
    (tmp_path / "mended").touch()
    assert changes(place, "--status", "failed", status=1) == {"failed handler-error -> handled": 2}
    assert "failed, handler-error (bugs)  →  handled" in place.run("replay", "--status", "failed", status=1).decode()
    assert done(database) == before
    assert ask(database, "SELECT count(*) FROM postroom_effects") == effects
    assert (tmp_path / "previewed").read_text().count("broken-1") == 3
    # In a database where the handler was never at work, nothing is made.
    fresh = postgres.new_database()
    place.write("other.toml", (tmp_path / "postroom.toml").read_text().replace(database, fresh))
    chosen = ("--recipient", "fine@foo.com", "--settings", str(tmp_path / "other.toml"))
    assert changes(place, *chosen, status=1) == {"handled -> failed handler-error": 1}
    assert ask(fresh, "SELECT to_regclass('postroom_effects')") == [(None,)]


def test_a_preview_is_an_attribute_of_the_function_too_and_without_one_the_handler_is_not_called(tmp_path: Path) -> None:
    one = {"use": "python", "python": "many:one", "domains": ["one.com"]}
    other = {"use": "python", "python": "many:other", "domains": ["other.com"]}
    handlers = {"one": one, "other": other}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers=handlers, accounts=[SAMPLE], code={"many.py": MANY, "acts.py": CODE})
    letter = Letters()
    place.imported([letter("1@one.com"), letter("1@other.com")])
    place.drain()
    assert changes(place, status=1) == {"failed handler-error -> failed handler-false": 1, "handled -> handler:other": 1}
    assert "handler:other, handler not called" in place.run("replay", status=1).decode()
    away = {"use": "python", "python": "acts:handle", "domains": ["one.com"], "database": "postgresql://nobody@127.0.0.1:1/none"}
    section = "[handlers.bugs]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in away.items())
    text = (tmp_path / "postroom.toml").read_text().replace("one.com", "two.com")
    place.write("away.toml", f"{text}\n{section}")
    place.run("replay", "--settings", str(tmp_path / "away.toml"), status=75)
    assert "database of handler bugs" in place.stderr
