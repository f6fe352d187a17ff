"""The Maildir handler: what mail readers find, and what is durable when."""

import mailbox
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.maildir import MaildirHandler
from handlers.stage import HandlerStage
from streams.faults import Hold
from tests.handlers.kit import outcomes, raw_mail, routed

MakeStage = Callable[..., HandlerStage]


def files(folder: Path) -> dict[str, bytes]:
    """What stands in new/, by name."""
    return {path.name: path.read_bytes() for path in (folder / "box" / "new").iterdir()}


@pytest.fixture
def made(stage: MakeStage, tmp_path: Path) -> HandlerStage:
    """The stage of a Maildir at `box`."""
    return stage(MaildirHandler("test", tmp_path / "box"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mail_is_written_as_received_with_two_lines_on_top(made: HandlerStage, tmp_path: Path, end: str) -> None:
    """The lines have the mail's own line end; the rest is untouched, a bare CR and a NUL included."""
    raw = f"From: ada@example.org{end}{end}a\rb\0c{end}".encode()
    assert outcomes(made.process([routed(1, raw)])) == ["handled"]
    (written,) = files(tmp_path).values()
    assert written == f"Return-Path: <ada@example.org>{end}Delivered-To: box@foo.example{end}".encode() + raw


def test_pythons_mailbox_reads_it(made: HandlerStage, tmp_path: Path) -> None:
    """As any reader of Maildirs."""
    made.process([routed(n) for n in range(3)])
    box = mailbox.Maildir(tmp_path / "box", create=False)
    assert sorted(message["Subject"] for message in box) == ["no. 0", "no. 1", "no. 2"]
    assert {message["Delivered-To"] for message in box} == {"box@foo.example"}


@pytest.mark.parametrize(
    ("envelope_sender", "line"), [("", b"Return-Path: <>\n"), ("Bob@EXAMPLE.org", b"Return-Path: <bob@example.org>\n")]
)
def test_the_return_path_is_the_envelope_sender(made: HandlerStage, tmp_path: Path, envelope_sender: str, line: bytes) -> None:
    """The null sender is written as such."""
    made.process([routed(1, envelope_sender=envelope_sender)])
    assert next(iter(files(tmp_path).values())).startswith(line)


def test_without_an_envelope_sender_there_is_no_return_path(made: HandlerStage, tmp_path: Path) -> None:
    """An empty one would say that it was the null sender."""
    made.process([routed(1, b"Subject: from nobody\n\n")])
    assert next(iter(files(tmp_path).values())).startswith(b"Delivered-To: box@foo.example\n")


@pytest.mark.parametrize("evil", ['"a\r\nBcc: x"@foo.example', '"a\nb"@foo.example', '"a\0b"@foo.example', '"a\x85b\u2028c"@foo.example'])
def test_an_address_cannot_add_a_header_line(made: HandlerStage, tmp_path: Path, evil: str) -> None:
    """A quoted local part may hold anything, line ends too."""
    made.process([routed(1, recipient=evil, envelope_sender=evil)])
    (written,) = files(tmp_path).values()
    ours = written.removesuffix(raw_mail(1)).decode()
    assert len(ours.splitlines()) == 2
    assert "\0" not in ours


def test_a_first_line_that_is_folded_cannot_continue_ours(made: HandlerStage, tmp_path: Path) -> None:
    """Else the sender would write the end of Delivered-To."""
    made.process([routed(1, b" , everybody@foo.example\nFrom: ada@example.org\n\n")])
    box = mailbox.Maildir(tmp_path / "box", create=False)
    assert [message["Delivered-To"] for message in box] == ["box@foo.example"]


def test_a_repeat_overwrites_and_a_redo_is_another_file(made: HandlerStage, tmp_path: Path) -> None:
    """The name is the idempotency key."""
    record = routed(1)
    made.process([record])
    made.process([record])
    assert len(files(tmp_path)) == 1
    made.process([routed(1, generation=3)])
    assert len(files(tmp_path)) == 1
    made.process([routed(1, generation=3, redo=True)])
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("flags", [":2,", ":2,RS", ",S=120:2,S"])
def test_a_repeat_of_what_a_reader_has_moved_is_not_delivered_again(made: HandlerStage, tmp_path: Path, flags: str) -> None:
    """After a start it is looked for in cur/, too."""
    record = routed(1)
    made.process([record])
    (name,) = files(tmp_path)
    (tmp_path / "box" / "new" / name).rename(tmp_path / "box" / "cur" / f"{name}{flags}")
    made.assigned(frozenset({0}))
    assert outcomes(made.process([record, routed(2)])) == ["handled", "handled"]
    assert name not in files(tmp_path)
    assert len(files(tmp_path)) == 1


def test_what_a_killed_worker_left_in_tmp_goes_after_36_hours_and_nothing_else(made: HandlerStage, tmp_path: Path) -> None:
    key, long_ago = "0123456789abcdef" * 2, time.time() - 36 * 3600 - 60
    (tmp_path / "box" / "tmp").mkdir(parents=True)
    names = [f"{key}.17", f"{key}.3.17", f"{key}.18", "1795981531.M1P2.host"]
    for name in names:
        (tmp_path / "box" / "tmp" / name).write_bytes(b"half a mail")
        if name != f"{key}.18":
            os.utime(tmp_path / "box" / "tmp" / name, (long_ago, long_ago))
    made.process([routed(1)])
    assert {path.name for path in (tmp_path / "box" / "tmp").iterdir()} == set(names[2:])


def test_a_folder_that_cannot_be_written_holds_the_role(stage: MakeStage, tmp_path: Path) -> None:
    """It names the folder; nothing fails, and it goes on when the folder is back."""
    (tmp_path / "box").write_text("a file where the folder should be")
    made = stage(MaildirHandler("test", tmp_path / "box"))
    with pytest.raises(Hold, match="maildir of handler test") as held:
        made.process([routed(1)])
    assert str(tmp_path / "box") in held.value.why
    (tmp_path / "box").unlink()
    assert outcomes(made.process([routed(1)])) == ["handled"]


def test_a_folder_that_breaks_within_a_batch_keeps_what_was_written(
    made: HandlerStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mails before it are published and have their words."""
    made.process([routed(0)])
    opened, real = [], os.open

    def full(path: object, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            opened.append(path)
            if len(opened) == 3:
                raise OSError(28, "No space left on device")
        return real(path, flags, mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    assert outcomes(made.process([routed(1), routed(2), routed(3), routed(4)])) == ["handled", "handled"]
    assert len(files(tmp_path)) == 3


SCRIPT = """
import sys
from pathlib import Path
from handlers.maildir import MaildirHandler
from tests.handlers.kit import routed, stage_of
folder = Path(sys.argv[1])
stage = stage_of(MaildirHandler("test", folder / "box"), folder)
stage.assigned(frozenset({0}))
print("go", flush=True)
for start in range(0, 300, 10):
    stage.process([routed(n) for n in range(start, start + 10)])
    print(start, flush=True)
"""


def test_after_kills_every_mail_is_there_once_and_whole(tmp_path: Path) -> None:
    """kill -9 between any two steps: nothing in new/ is half a mail, and repeats overwrite."""
    for lines in (2, 5, 11, 19, None):
        worker = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert worker.stdout
        if lines is None:
            worker.communicate()
            assert worker.returncode == 0
        else:
            for _ in range(lines):
                worker.stdout.readline()
            worker.kill()
            worker.wait()
            worker.stdout.close()
        for written in files(tmp_path).values():
            assert written.endswith(b"\n")
            assert b"hello" in written
    assert len(files(tmp_path)) == 300
