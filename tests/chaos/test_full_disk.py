"""A full disk: whoever hands mails over hears "later", roles wait, and all goes on when there is room. On a real, small file system."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.books import balanced
from tests.chaos.crew import Crew, MailServer, until
from tests.chaos.town import Town, found, mbox

MEGABYTES = 128


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of some megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root, and the right to mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


class Ballast:
    """Fills a disk but for some bytes, and makes room again."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "ballast"

    def fill(self, leave: int) -> None:
        """Others may write at the same time."""
        with self._file.open("wb") as file:
            while (more := self._free() - leave) > 0:
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + more)

    def drop(self) -> None:
        """Makes room."""
        self._file.unlink()

    def _free(self) -> int:
        free = os.statvfs(self._file.parent)
        return free.f_bavail * free.f_frsize


def test_on_a_full_disk_everybody_waits_and_nothing_is_lost(tmp_path: Path, small_disk: Path, chance: random.Random) -> None:
    (tmp_path / "calls").touch()
    (small_disk / "calls").symlink_to(tmp_path / "calls")  # what the handler writes is not to fail
    place = found(small_disk, ingest={"min_free": 0})
    town, ballast = Town(chance), Ballast(small_disk)
    before, during, handed_over = town.letters(100), town.letters(1500), town.letters(40)
    place.run("import", str(mbox(tmp_path / "before.mbox", before)))
    box = str(mbox(tmp_path / "during.mbox", during))
    with Crew(place, outside=tmp_path) as crew:
        crew.start("worker", "run")
        until(lambda: crew.listens("worker"), "the listener")
        ballast.fill(leave=200_000)
        server = MailServer(handed_over, [crew.socket("worker")], chance)
        server.start()
        place.run("import", box, status=os.EX_TEMPFAIL)
        assert len(place.stderr.splitlines()) == 1
        assert "no room is left on the disk" in place.stderr
        assert "the same command goes on from there" in place.stderr
        until(lambda: 452 in server.refusals, "the listener to say that there is no room")
        until(lambda: "no room is left on the disk" in crew.stderr("worker").read_text(), "a role to wait")
        assert crew.running["worker"].poll() is None
        ballast.drop()
        server.finish()
        assert server.refusals <= {452}
        place.run("import", box)
        crew.stop_all()
    place.drain()
    assert balanced(place, before + during + handed_over).crashed == 0


def test_below_min_free_no_mail_is_taken_though_there_is_some_room(tmp_path: Path, small_disk: Path, chance: random.Random) -> None:
    place = found(small_disk, ingest={"min_free": "16MB"})
    town, ballast = Town(chance), Ballast(small_disk)
    letters, handed_over = town.letters(20), town.letters(5)
    box = str(mbox(tmp_path / "some.mbox", letters))
    with Crew(place, outside=tmp_path) as crew:
        crew.start("worker", "run")
        until(lambda: crew.listens("worker"), "the listener")
        ballast.fill(leave=15_000_000)
        place.run("import", box, status=os.EX_TEMPFAIL)
        assert "min_free" in place.stderr
        assert place.run("pipe", "--recipient", "1@box.example", data=letters[0].text.encode(), status=os.EX_TEMPFAIL) == b""
        server = MailServer(handed_over, [crew.socket("worker")], chance)
        server.start()
        until(lambda: 452 in server.refusals, "the listener to say that there is no room")
        assert place.outcomes() == []
        ballast.drop()
        server.finish()
        place.run("import", box)
        crew.stop_all()
    place.drain()
    balanced(place, letters + handed_over)
