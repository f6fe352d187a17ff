"""What is said on standard error: a line for each record, and nothing in it that a terminal or a journal would obey."""

import logging
import re
from base64 import b64encode
from pathlib import Path

import pytest

from postroom.printable import LogLines
from tests.acceptance.place import Place

NASTY = "\x1b]0;owned\x07 \x1b[2J \u202e \nWARNING postroom: forged\u2028x"
QUOTING = """
from email.header import decode_header, make_header
def handle(mail):
    raise ValueError(str(make_header(decode_header(mail.message["Subject"]))))
"""


MAIL = f"From: ada@b.org\nTo: 1@bugs.org\nMessage-ID: <1@x>\nSubject: =?utf-8?b?{b64encode(NASTY.encode()).decode()}?=\n\nhi\n"


def place_of(folder: Path) -> Place:
    handlers = {"bugs": {"use": "python", "python": "actions:handle", "domains": ["bugs.org"]}}
    account = {"id": "ada", "name": "Ada", "addresses": ["ada@b.org"]}
    return Place(folder, "sqlite:///postroom.db", handlers=handlers, accounts=[account], code={"actions.py": QUOTING})


def harmless(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text) and "\nWARNING postroom: forged" not in text


@pytest.mark.parametrize("level", ["warning", "debug"])
def test_what_a_mail_says_is_escaped_in_the_log(tmp_path: Path, level: str) -> None:
    place = place_of(tmp_path)
    place.mail(MAIL)
    place.mail('From: ada@b.org\nTo: "a\x1b[31mb\x07"@nowhere.org\nMessage-ID: <2@x>\n\nhi\n')
    place.run("--log-level", level, "run", "--drain")
    told = place.stderr
    assert harmless(told)
    assert r"a\x1b[31mb\x07" in told
    assert r"ValueError: \x1b]0;owned\x07 \x1b[2J \u202e \nWARNING postroom: forged\u2028x" in told
    assert all(re.match(r"(DEBUG|INFO|WARNING|ERROR) [a-z.]+: |  ", line) for line in told.splitlines())


def test_a_traceback_keeps_its_lines_and_none_of_them_passes_for_a_record(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    place.mail(MAIL, "--recipient", "1@bugs.org")
    place.drain()
    first, *further = place.stderr.splitlines()
    assert first.startswith("ERROR postroom.handlers: mail ")
    assert "  Traceback (most recent call last):" in further
    assert r"  ValueError: \x1b]0;owned\x07 \x1b[2J \u202e " in further
    assert r"  WARNING postroom: forged\u2028x" in further


def test_the_traceback_of_another_process_follows_as_ours_do() -> None:
    lines = LogLines("%(levelname)s %(name)s: %(message)s")
    record = logging.getLogger("x").makeRecord("x", logging.ERROR, "", 0, "a\n%s", ("\x1b",), None, extra={"traceback": "b\n\x07c\n"})
    assert lines.format(record) == "ERROR x: a\\n\\x1b\n  b\n  \\x07c"


def test_the_name_of_a_file_that_cannot_be_read_is_escaped(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    place.run("import", str(tmp_path / "x\x1b\npostroom: 1 stored"), status=1)
    assert harmless(place.stderr)
    assert len(place.stderr.splitlines()) == 1
    assert r"x\x1b\npostroom: 1 stored: cannot be read" in place.stderr


def test_an_import_that_stops_escapes_the_file_that_it_names(tmp_path: Path) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", sections={"archive": {"inline_limit": 0}})
    place.run("topics", "--create")
    (tmp_path / "archive").write_text("a file where the archive's folder is to be")
    name = "x\x1b.eml"
    place.write(name, MAIL)
    place.run("import", str(tmp_path / name), status=75)
    assert harmless(place.stderr)
    assert r"x\x1b.eml (mail 0), which was not stored" in place.stderr


def test_what_the_demo_logs_is_escaped(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    place.run("demo", "--folder", str(tmp_path / "demo"))
    text = (tmp_path / "demo" / "postroom.log").read_text()
    assert "  Traceback (most recent call last):" in text
    assert harmless(text)
    assert all(re.match(r"\d{4}-\d\d-\d\d |  ", line) for line in text.splitlines())
