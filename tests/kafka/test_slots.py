"""A worker that was killed finds its slot again, and no two share one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams.errors import Fatal
from streams.kafka.slots import claim

CLAIM = """
import sys, time
from pathlib import Path
from streams.kafka.slots import claim
slot = claim(Path(sys.argv[1]), environ={})
print(slot.name, flush=True)
time.sleep(60)
"""


def _worker(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that takes a slot and keeps it, and the slot's name."""
    process = subprocess.Popen([sys.executable, "-c", CLAIM, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_the_lowest_free_number_of_the_host_is_taken_and_is_free_again_after_kill_9(tmp_path: Path) -> None:
    first, first_name = _worker(tmp_path)
    second, second_name = _worker(tmp_path)
    try:
        assert first_name.endswith("-0")
        assert second_name.endswith("-1")
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert claim(tmp_path, environ={}).name == first_name
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def test_a_released_slot_is_free_at_once(tmp_path: Path) -> None:
    slot = claim(tmp_path, environ={})
    assert claim(tmp_path, environ={}).name != slot.name
    slot.release()
    assert claim(tmp_path, environ={}).name == slot.name


def test_the_option_comes_before_the_variable_and_that_before_the_host(tmp_path: Path) -> None:
    assert claim(tmp_path, "7", {"POSTROOM_SLOT": "8"}).name == "7"
    assert claim(tmp_path, None, {"POSTROOM_SLOT": "8"}).name == "8"


def test_a_named_slot_that_another_holds_is_refused(tmp_path: Path) -> None:
    held = claim(tmp_path, "7")
    with pytest.raises(Fatal, match="slot 7 is taken"):
        claim(tmp_path, "7")
    held.release()


@pytest.mark.parametrize("name", ["../7", "a b", "x" * 101, "ß", "7\n"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Fatal, match="no name for a slot"):
        claim(tmp_path, name)


def test_a_named_slot_needs_no_folder_and_one_by_host_does(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert claim(missing, "7").name == "7"
    with pytest.raises(Fatal, match="POSTROOM_SLOT"):
        claim(missing, environ={})
