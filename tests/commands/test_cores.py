"""`run --core`: what keeps to the core, and what does not. (Of the Kafka client's threads: tests/onkafka/test_cores.py.)"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.place import Letters, Place
from tests.openpgp.conftest import need_gpg

WHERE = f"#!{sys.executable}\nimport os\nprint(*sorted(os.sched_getaffinity(0)), file=open(%r, 'a'))\n%s\n"
"""A program that takes down the cores that it may use."""

GNUPG = """
import os, sys
from pathlib import Path
from streams import cores
from topology.openpgp.gnupg import GnupgHome

cores.keep(max(os.sched_getaffinity(0)))
GnupgHome(Path(sys.argv[1])).check(b"signed", b"no packet", 1_700_000_000, [])
"""


@pytest.fixture
def everywhere() -> str:
    return " ".join(map(str, sorted(os.sched_getaffinity(0))))


def _program(path: Path, then: str = "") -> Path:
    """Writes beside itself, into `cores`."""
    path.write_text(WHERE % (str(path.with_name("cores")), then))
    path.chmod(0o755)
    return path


def test_a_handlers_command_runs_on_any_core(tmp_path: Path, everywhere: str) -> None:
    handler = {"use": "command", "command": ["./where"], "domains": ["foo.com"], "allow_unknown_senders": True}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": handler})
    _program(tmp_path / "where")
    place.mail(Letters()("new@foo.com"))
    place.drain("--core", str(max(os.sched_getaffinity(0))))
    assert (tmp_path / "cores").read_text() == everywhere + "\n"


def test_gnupg_runs_on_any_core(tmp_path: Path, everywhere: str) -> None:
    need_gpg()
    gpg = shutil.which("gpg")
    _program(tmp_path / "gpg", f"import sys; os.execv({gpg!r}, sys.argv)")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([sys.executable, "-c", GNUPG, str(tmp_path)], check=True, env=os.environ | {"PATH": path}, timeout=60)
    assert set((tmp_path / "cores").read_text().splitlines()) == {everywhere}


def test_a_core_that_is_not_there_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db")
    place.run("run", "--core", str(max(os.sched_getaffinity(0)) + 1), status=2)
    assert "--core" in place.stderr
    assert "there is no core" in " ".join(place.stderr.replace("│", " ").split())
