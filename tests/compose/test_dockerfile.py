"""The Dockerfile copies what there is, and all that the program needs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

from tests.compose.compose import CLONE, HOME

PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Name and rest of each instruction; continued lines are one."""
    text = re.sub(r"\\\n", " ", (CLONE / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def copied() -> list[str]:
    """What it takes from the clone."""
    found = [shlex.split(rest) for name, rest in instructions() if name == "COPY"]
    return [source for words in found if not words[0].startswith("--from") for source in words[:-1]]


def last(name: str) -> str:
    """The rest of the last instruction of that name: the one in force."""
    return [rest for found, rest in instructions() if found == name][-1]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = [line for line in (CLONE / ".dockerignore").read_text().splitlines() if line]
    assert copied()
    for source in copied():
        assert (CLONE / source).exists(), source
        assert not any(fnmatch(source.rstrip("/"), pattern) for pattern in ignored), source


def test_it_starts_the_console_script_as_a_user_without_rights() -> None:
    (entry,) = json.loads(last("ENTRYPOINT"))
    assert entry in PROJECT["project"]["scripts"]
    user = last("USER")
    assert user not in ("root", "0")
    assert any(name == "RUN" and "useradd" in rest and user in rest for name, rest in instructions())
    assert last("WORKDIR") == str(HOME)


def test_dependencies_come_from_the_lock_with_their_hashes_and_from_nowhere_else() -> None:
    runs = [rest for name, rest in instructions() if name == "RUN"]
    (first, *others) = [run for run in runs if re.search(r"\bpip (install|wheel)\b", run)]
    assert "--require-hashes" in first and "--requirement requirements.lock" in first
    for run in others:
        for command in re.split(r"&&", run):
            if "pip " in command:
                assert "--no-index" in command or "--no-deps --no-build-isolation" in command, command


def test_the_python_is_one_that_the_program_runs_on() -> None:
    images = {rest.split()[0] for name, rest in instructions() if name == "FROM"}
    (image,) = images
    found = re.fullmatch(r"python:(\d+)\.(\d+)-slim", image)
    assert found
    least = PROJECT["project"]["requires-python"].removeprefix(">=").split(".")
    assert (int(found[1]), int(found[2])) >= (int(least[0]), int(least[1]))


def test_what_is_copied_suffices_to_build_the_program_whole(tmp_path: Path) -> None:
    """Every module and every file of the packages is in the wheel that is built from the copied files alone."""
    for source in copied():
        if (CLONE / source).is_dir():
            shutil.copytree(CLONE / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CLONE / source, tmp_path / source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "out", "."],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (wheel,) = (tmp_path / "out").glob("postroom-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    packages = [pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    there = {str(path.relative_to(tmp_path)) for package in packages for path in (tmp_path / package).rglob("*") if path.is_file()}
    assert there
    assert there <= inside
