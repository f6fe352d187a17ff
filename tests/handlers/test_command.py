"""The command handler, with real programs."""

import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.command import CommandHandler
from handlers.stage import HandlerStage
from streams.faults import Hold
from streams.stage import Again
from tests.handlers.kit import outcome_of, outcomes, routed

MakeStage = Callable[..., HandlerStage]
Run = Callable[..., HandlerStage]


@pytest.fixture
def script(stage: MakeStage, tmp_path: Path) -> Run:
    """`script("exit 1")`: the stage of a command that is this shell script."""

    def make(text: str, *arguments: str, **options: Any) -> HandlerStage:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return stage(CommandHandler("test", ["./program", *arguments], tmp_path, **options))

    return make


def test_the_program_gets_the_mail_as_received(script: Run, tmp_path: Path) -> None:
    """Byte for byte, also when it is larger than a pipe."""
    raw = b"From: ada@example.org\r\n\r\n\0\xff" + b"x" * 1_000_000
    assert outcomes(script("cat > mail").process([routed(1, raw)])) == ["handled"]
    assert (tmp_path / "mail").read_bytes() == raw


def test_arguments_reach_it_without_a_shell(script: Run, tmp_path: Path) -> None:
    """What a shell would act on is text."""
    script('printf "%s|" "$@" > arguments', "$(touch evil)", "a b", "*").process([routed(1)])
    assert (tmp_path / "arguments").read_text() == "$(touch evil)|a b|*|"
    assert not (tmp_path / "evil").exists()


def test_the_environment_is_what_is_documented(script: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours leaks into it (a password, say), and an address with a NUL harms nothing."""
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv("TZ", "UTC")
    record = routed(1, recipient='"b\0x"@foo.example', captures={"number": "7", "1": "7"}, strength="weak", generation=2, redo=True)
    assert outcomes(script("env -0 > env").process([record])) == ["handled"]
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().split("\0") if line)
    told.pop("PWD", None)  # the shell's own
    told.pop("_", None)
    told.pop("SHLVL", None)
    ours = "MAIL_ID DELIVERY_ID IDEMPOTENCY_KEY GENERATION RECIPIENT SENDER ENVELOPE_SENDER STRENGTH ACCOUNT CAPTURE_1 CAPTURE_NUMBER"
    assert set(told) - {"PATH", "HOME", "TZ", "TMPDIR", "LANG"} == {f"POSTROOM_{name}" for name in ours.split()}
    page = Path(__file__).parents[2].joinpath("docs/handlers.md").read_text(encoding="utf-8")
    assert [name for name in told if not name.startswith("POSTROOM_CAPTURE_") and name not in page] == []
    assert told["POSTROOM_RECIPIENT"] == '"b\N{REPLACEMENT CHARACTER}x"@foo.example'
    assert told["POSTROOM_IDEMPOTENCY_KEY"] == f"{told['POSTROOM_DELIVERY_ID']}.2"
    assert (told["POSTROOM_SENDER"], told["POSTROOM_STRENGTH"], told["POSTROOM_ACCOUNT"]) == ("ada@example.org", "weak", "")
    assert told["POSTROOM_CAPTURE_NUMBER"] == "7"


STATUSES = [(0, "handled"), (75, "again"), (65, "returned refused"), (67, "returned refused"), (77, "returned refused")]
STATUSES += [(status, "failed handler-error") for status in (1, 2, 64, 66, 70, 126, 127, 255)]


@pytest.mark.parametrize(("status", "word"), STATUSES)
def test_each_exit_status_has_its_word(script: Run, status: int, word: str) -> None:
    """DESIGN.md section 6."""
    assert outcomes(script(f"exit {status}").process([routed(1)])) == [word]


def test_a_refusal_tells_the_first_kib_of_what_was_printed(script: Run) -> None:
    """Without controls, and without half a character at the end."""
    (result,) = script(r"""printf 'No such bug.\r\nTry \033[31m7.\n'; exit 65""").process([routed(1)])
    assert outcome_of(result).detail == "No such bug.\nTry  [31m7."
    (result,) = script(r"""printf 'a'; i=0; while [ $i -lt 600 ]; do printf 'é'; i=$((i+1)); done; exit 67""").process([routed(1)])
    assert outcome_of(result).detail == "a" + "é" * 511
    (result,) = script("exit 77").process([routed(1)])
    assert outcome_of(result).detail == "Your mail was refused, without a reason given."


def test_an_error_tells_its_status_and_the_end_of_standard_error(script: Run) -> None:
    """For people who run the mail."""
    (result,) = script("echo first >&2; yes | head -c 5000 >&2; echo the last line >&2; exit 3").process([routed(1)])
    detail = outcome_of(result).detail
    assert "exit status 3" in detail
    assert detail.endswith("the last line")
    assert "first" not in detail
    assert len(detail) < 1200


def test_a_program_that_dies_by_a_signal_is_an_error(script: Run) -> None:
    """Named by the signal."""
    (result,) = script("kill -SEGV $$").process([routed(1)])
    assert outcomes([result]) == ["failed handler-error"]
    assert outcome_of(result).detail == "the program was killed by SIGSEGV"


def test_temporary_failure_is_tried_again_with_its_reason(script: Run) -> None:
    """75 is EX_TEMPFAIL."""
    (result,) = script("echo the shop is shut >&2; exit 75").process([routed(1)])
    assert isinstance(result, Again)
    assert "the shop is shut" in result.why


def test_a_program_need_not_read_its_mail(script: Run) -> None:
    """Nor keep its outputs open."""
    raw = b"From: ada@example.org\n\n" + b"x" * 500_000
    assert outcomes(script("exit 0").process([routed(1, raw)])) == ["handled"]
    assert outcomes(script("exec <&- >&- 2>&-; exit 0").process([routed(1, raw)])) == ["handled"]


def test_a_program_that_closes_its_outputs_still_gets_all_of_the_mail(script: Run, tmp_path: Path) -> None:
    """Their end is not its end."""
    raw = b"From: ada@example.org\n\n" + b"x" * 500_000
    assert outcomes(script("exec 3>count >&- 2>&-; wc -c >&3").process([routed(1, raw)])) == ["handled"]
    assert int((tmp_path / "count").read_text()) == len(raw)


def test_output_without_end_fills_no_memory_and_ends_with_the_time(script: Run) -> None:
    """It is read and thrown away until the limit."""
    assert outcomes(script("yes & yes >&2", limit=0.5).process([routed(1)])) == ["timeout"]


def test_what_a_program_leaves_behind_keeps_nobody_waiting(script: Run, tmp_path: Path) -> None:
    """Though it holds the pipes open. It is killed when the program has ended."""
    assert outcomes(script("sleep 600 &\necho $! > background", limit=30).process([routed(1)])) == ["handled"]
    assert _is_gone(int((tmp_path / "background").read_text()))


@pytest.mark.parametrize(("status", "word"), [(0, "handled"), (65, "returned refused"), (1, "failed handler-error")])
def test_a_flood_of_what_a_program_leaves_behind_changes_no_word(script: Run, tmp_path: Path, status: int, word: str) -> None:
    """Each mail has its word of one call, and the flood ends with it."""
    flooding = script(f"yes & echo $! >> floods\nyes >&2 & echo $! >> floods\nexit {status}", limit=10)
    assert outcomes(flooding.process([routed(1), routed(2)])) == [word, word]
    floods = [int(line) for line in (tmp_path / "floods").read_text().split()]
    assert len(floods) == 4
    assert all(map(_is_gone, floods))


def test_a_program_that_overruns_is_killed_with_all_that_it_started(script: Run, tmp_path: Path) -> None:
    """Its process group is gone when the word is said."""
    assert outcomes(script("sleep 600 & echo $! > child; sleep 600", limit=0.5).process([routed(1), routed(2)])) == ["timeout", "follows"]
    assert _is_gone(int((tmp_path / "child").read_text()))


def _is_gone(process: int) -> bool:
    """Whether a process ends by itself; if not, it is killed."""
    waited = threading.Event()
    for _ in range(200):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # dead, and waits for its new parent to see to it
        except (FileNotFoundError, ProcessLookupError):
            return True
        waited.wait(0.02)
    os.kill(process, signal.SIGKILL)
    return False


def test_programs_run_side_by_side_when_they_may(script: Run, tmp_path: Path) -> None:
    """With `concurrency` two meet over named pipes, which one alone would wait at for ever."""
    os.mkfifo(tmp_path / "left")
    os.mkfifo(tmp_path / "right")
    meet = 'if [ "$POSTROOM_RECIPIENT" = 1@foo.example ]; then echo > left; read x < right; else read x < left; echo > right; fi'
    records = [routed(1, recipient="1@foo.example"), routed(2, recipient="2@foo.example")]
    assert outcomes(script(meet, concurrency=2, limit=60).process(records)) == ["handled", "handled"]


def test_a_program_that_vanishes_holds_the_role(script: Run, tmp_path: Path) -> None:
    """It may be being installed anew; nothing fails meanwhile."""
    made = script("exit 0")
    assert outcomes(made.process([routed(1)])) == ["handled"]
    (tmp_path / "program").rename(tmp_path / "away")
    with pytest.raises(Hold, match="program cannot be started: No such file"):
        made.process([routed(2)])
    (tmp_path / "away").rename(tmp_path / "program")
    assert outcomes(made.process([routed(2)])) == ["handled"]


def test_a_program_without_an_interpreter_holds_the_role(script: Run, tmp_path: Path) -> None:
    """The kernel's word is in the log."""
    made = script("exit 0")
    (tmp_path / "program").write_text("no shebang here\n")
    with pytest.raises(Hold, match="cannot be started"):
        made.process([routed(1)])
