"""Exported mails are the bytes that came, and come back by import."""

import errno
import mailbox
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from postroom.cli import app
from postroom.export.targets import Mailbox
from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Place
from topology.facts import Envelope

HANDLER = {"use": "maildir", "path": "bugs/", "domains": ["bugs.example"], "allow_unknown_senders": True}

MAILS = [
    b"From: a@x.org\r\nTo: 1@bugs.example\r\n\r\nFrom here\r\n>From there\r\n>>From afar\r\n\r\n",
    b"From: a@x.org\nTo: 1@bugs.example\nMessage-ID: <2@x>\n\n\nFrom a Mon Mar  2 10:00:00 2026\n\n",
    b"From: a@x.org\nTo: 1@bugs.example\nMessage-ID: <3@x>\n\n\xff\x00 \xe2\x80\xa8 bytes\r\n",
]


@pytest.fixture
def place(make: MakePlace) -> Place:
    """With three mails that are hard to put in a mailbox."""
    made = make(handlers={"bugs": HANDLER})
    made.imported(MAILS, "--sender", "a@x.org", "--received-at", "2026-03-02T10:00:00Z")
    made.drain("chain", "handler:bugs")
    return made


def export(place: Place, *arguments: str, status: int = 0) -> tuple[dict[str, Any], str]:
    """`export --json`, in this process: what it says of itself, and its standard error."""
    result = CliRunner().invoke(app, ["--config", str(place.folder / "postroom.toml"), "export", *arguments, "--json"])
    assert result.exit_code == status, result.output
    return orjson.loads(result.stdout or "{}"), result.stderr


@pytest.mark.sqlite_only
def test_a_mailbox_gives_the_same_mails_back(place: Place, tmp_path: Path) -> None:
    to = tmp_path / "out.mbox"
    done, _ = export(place, "--sender", "a@x.org", "--to", str(to))
    assert (done["mails"], done["octets"]) == (3, sum(map(len, MAILS)))
    assert to.stat().st_mode & 0o777 == 0o600
    assert to.read_bytes().startswith(b"From a@x.org Mon Mar  2 10:00:00 2026\n")
    assert len(mailbox.mbox(to)) == 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Place(elsewhere, "sqlite:///postroom.db", handlers={"bugs": HANDLER})
    lines = other.lines("import", str(to), "--sender", "a@x.org", "--received-at", "2026-03-02T10:00:00Z")
    assert {line["mail_id"] for line in lines} == {row["mail_id"] for row in place.outcomes()}


@pytest.mark.sqlite_only
def test_a_folder_has_the_very_bytes_under_safe_names_and_nothing_is_overwritten(place: Place, tmp_path: Path) -> None:
    to = f"{tmp_path}/new/out/"
    export(place, "--where", 'sender == "a@x.org"', "--to", to)
    files = sorted((tmp_path / "new" / "out").iterdir())
    assert sorted(file.read_bytes() for file in files) == sorted(MAILS)
    assert sorted(file.name for file in files) == sorted(f"20260302T100000Z-{row['mail_id']}.eml" for row in place.outcomes())
    assert {file.stat().st_mtime for file in files} == {1772445600.0}
    again, said = export(place, "--sender", "a@x.org", "--to", to, status=1)
    assert (again["mails"], len(again["existing"]), "--force" in said) == (0, 3, True)
    assert export(place, "--sender", "a@x.org", "--to", to, "--force")[0]["mails"] == 3


@pytest.mark.sqlite_only
def test_a_mailbox_is_overwritten_by_force_only_and_erased_mails_are_said_and_left_out(place: Place, tmp_path: Path) -> None:
    to = tmp_path / "out.mbox"
    to.write_text("mine")
    _, said = export(place, "--sender", "a@x.org", "--to", str(to), status=2)
    assert (to.read_text(), "--force" in said) == ("mine", True)
    first = place.outcomes()[0]["mail_id"]
    place.run("erase", "--id", first, "--apply")
    done, said = export(place, "--sender", "a@x.org", "--to", str(to), "--force", status=1)
    assert (done["mails"], done["erased"], len(mailbox.mbox(to))) == (2, [first], 2)
    assert f"1 of the selected mails were erased, so there is nothing to export: {first}" in said


def test_a_mailbox_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    envelope = Envelope("0" * 32, None, (), "2026-03-02T10:00:00.000Z", "import", 1, "0" * 64)
    box = Mailbox(tmp_path / "out", force=False).__enter__()
    box.write(envelope, b"x")
    box.__exit__(KeyError, KeyError(), None)
    assert list(tmp_path.iterdir()) == []


def test_a_mailbox_that_the_disk_does_not_keep_leaves_the_one_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks that are full, or broken, say so as late as when they are asked to keep what was written."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "out").write_bytes(b"mine")
    envelope = Envelope("0" * 32, None, (), "2026-03-02T10:00:00.000Z", "import", 1, "0" * 64)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"), Mailbox(tmp_path / "out", force=True) as box:
        box.write(envelope, b"x")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"mine")]


def test_what_was_written_of_a_mailbox_goes_from_a_full_disk(tmp_path: Path) -> None:
    """The last octets go out as the file is closed."""
    box = Mailbox(tmp_path / "out", force=False).__enter__()
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), box._file.fileno())
    box.write(Envelope("0" * 32, None, (), "2026-03-02T10:00:00.000Z", "import", 1, "0" * 64), b"x")
    with pytest.raises(OSError, match="No space left"):
        box.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []
