"""The import run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.archive import ObjectArchive
from postroom.ingest.importing import Imported, ImportStopped, Options, parse_received_at, run_import
from postroom.ingest.room import Room
from streams.sqlite import SqliteLog
from tests.ingest.place import Place, numbered


def mailbox_of_sizes(path: Path, *sizes: int) -> Path:
    path.write_bytes(b"".join(b"From x Sun Mar  1 12:00:00 2026\n%b\n" % numbered(n, b"x" * size + b"\n") for n, size in enumerate(sizes)))
    return path


def mailbox(path: Path, count: int) -> Path:
    path.write_bytes(b"".join(b"From x Sun Mar  1 12:00:%02d 2026\n%b\n" % (number % 60, numbered(number)) for number in range(count)))
    return path


def imported(lines: Iterator[Imported]) -> list[tuple[str, int | None, bool | None, bool]]:
    return [(Path(line.path).name, line.index, line.repeat, line.error is not None) for line in lines]


def test_each_mail_is_reported_once_it_is_durable(place: Place, tmp_path: Path) -> None:
    box = mailbox(tmp_path / "box", 700)
    seen = 0
    for line in run_import([box], Options(recipients=("bugs@example.org",)), place.acceptor()):
        assert line.index == seen
        seen += 1
        if seen % 100 == 1:
            assert len(place.records()) >= seen
    assert seen == len(place.records()) == 700
    assert {facts.envelope.recipients for facts in place.facts()} == {("bugs@example.org",)}


def test_the_same_mailbox_again_is_all_repeats(place: Place, tmp_path: Path) -> None:
    """E6."""
    (tmp_path / "1.eml").write_bytes(b"Subject: neither Message-ID nor Received\n\n")
    paths = [mailbox(tmp_path / "box", 3), tmp_path / "1.eml"]
    first = list(run_import(paths, Options(), place.acceptor()))
    again = list(run_import(paths, Options(), place.acceptor()))
    assert [line.repeat for line in first] == [False] * 4
    assert [line.repeat for line in again] == [True] * 4
    assert [line.mail_id for line in first] == [line.mail_id for line in again]
    assert len(place.records()) == 4


def test_what_cannot_be_read_is_a_line_and_the_rest_goes_on(place: Place, tmp_path: Path) -> None:
    paths = [mailbox(tmp_path / "box", 1), tmp_path / "missing.eml", mailbox(tmp_path / "box2", 2)]
    assert imported(run_import(paths, Options(), place.acceptor())) == [
        ("box", 0, False, False),
        ("missing.eml", None, None, True),
        ("box2", 0, True, False),
        ("box2", 1, False, False),
    ]


def test_the_receive_time_comes_from_received_else_the_separator_else_the_file(place: Place, tmp_path: Path) -> None:
    received = b"Received: by mx; Sun, 1 Mar 2026 10:00:00 +0000\nSubject: 1\n\n"
    (tmp_path / "box").write_bytes(b"From x Sun Mar  1 11:00:00 2026\n" + received + b"\nFrom x Sun Mar  1 11:00:00 2026\nSubject: 2\n\n")
    (tmp_path / "file.eml").write_bytes(b"Subject: 3\n\n")
    os.utime(tmp_path / "file.eml", (1_772_366_400, 1_772_366_400))
    list(run_import([tmp_path], Options(), place.acceptor()))
    times = {facts.envelope.size: facts.envelope.received_at for facts in place.facts()}
    assert times == {
        len(received): "2026-03-01T10:00:00.000Z",
        len(b"Subject: 2\n"): "2026-03-01T11:00:00.000Z",
        len(b"Subject: 3\n\n"): "2026-03-01T12:00:00.000Z",
    }


def test_a_receive_time_can_be_given(place: Place, tmp_path: Path) -> None:
    at = parse_received_at("2026-03-01T13:00:00+01:00")
    list(run_import([mailbox(tmp_path / "box", 1)], Options(received_at=at), place.acceptor()))
    assert [facts.envelope.received_at for facts in place.facts()] == ["2026-03-01T12:00:00.000Z"]
    assert parse_received_at("2026-03-01T12:00:00") == at
    with pytest.raises(ValueError, match="--received-at"):
        parse_received_at("yesterday")


def test_when_the_archive_is_away_the_import_stops_at_that_mail_and_goes_on_later(place: Place, tmp_path: Path) -> None:
    """A11."""
    (tmp_path / "blocked").touch()
    acceptor = place.acceptor(inline_limit=1000, archive=ObjectArchive("file:blocked/archive", tmp_path))
    box = tmp_path / "box"
    box.write_bytes(
        b"".join(b"From x Sun Mar  1 12:00:00 2026\n%b\n" % numbered(n, b"x" * (2000 if n == 2 else 20) + b"\n") for n in range(4))
    )
    lines: list[Imported] = []
    with pytest.raises(ImportStopped, match=r"stopped at .*box \(mail 2\).*archive\.url"):
        lines += run_import([box], Options(), acceptor)
    assert len(place.records()) == 3
    (tmp_path / "blocked").unlink()
    assert [line.repeat for line in run_import([box], Options(), acceptor)] == [True, True, False, True]


def test_a_mail_that_the_log_will_never_take_is_a_line_and_the_rest_goes_on(place: Place, tmp_path: Path) -> None:
    box = mailbox_of_sizes(tmp_path / "box", 20, 9000, 20)
    log = SqliteLog(tmp_path / "postroom.db", largest=5000)
    assert imported(run_import([box], Options(), place.acceptor(log=log))) == [
        ("box", 0, False, False),
        ("box", 1, None, True),
        ("box", 2, False, False),
    ]
    log.close()


def test_progress_is_reported_after_each_transaction(place: Place, tmp_path: Path) -> None:
    box = mailbox(tmp_path / "box", 600)
    seen: list[tuple[int, int]] = []
    list(run_import([box], Options(), place.acceptor(), lambda done, total: seen.append((done, total))))
    size = box.stat().st_size
    assert len(seen) == 3
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)


_PROGRAM = """
import sys
from pathlib import Path
from postroom.ingest.importing import Options, run_import
from tests.ingest.place import Place
with Place(Path(sys.argv[1])) as place:
    for line in run_import([Path(sys.argv[2])], Options(recipients=("bugs@example.org",)), place.acceptor(max_size=1 << 20)):
        print(line.mail_id, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 300, 1500])
def test_an_import_killed_half_way_and_run_again_delivers_each_mail_once(lines: int, place: Place, tmp_path: Path) -> None:
    """E6, by kill -9."""
    box = mailbox(tmp_path / "box", 3000)
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, tmp_path, box], stdout=subprocess.PIPE) as process:
        assert process.stdout
        said = {process.stdout.readline().split()[0].decode() for _ in range(lines)}
        process.kill()
    there = [facts.envelope.mail_id for facts in place.facts()]
    assert said <= {*there}, "reported before it was durable"
    assert len(there) < 3000
    again = list(run_import([box], Options(recipients=("bugs@example.org",)), place.acceptor()))
    assert [line.repeat for line in again].count(True) == len(there)
    ids = [facts.envelope.mail_id for facts in place.facts()]
    assert len(ids) == len({*ids}) == 3000
    assert {line.mail_id for line in again} == {*ids}


_HUGE = """
import os, resource, sys
from pathlib import Path
from postroom.ingest.importing import Options, run_import
from postroom.ingest.pipe import run_pipe
from tests.ingest.place import Place
with Place(Path(sys.argv[1])) as place:
    acceptor = place.acceptor(max_size=10 << 20, inline_limit=512 << 10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.argv[3] == "import":
        list(run_import([Path(sys.argv[2])], Options(), acceptor))
    else:
        run_pipe(open(sys.argv[2], "rb"), None, (), acceptor)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("way", "start", "size"),
    [("import", b"Subject: huge\n\n", 1 << 30), ("import", b"From x\nSubject: huge\n\n", 1 << 28), ("pipe", b"Subject: huge\n\n", 1 << 30)],
)
def test_memory_grows_by_less_than_64_mib_on_a_mail_of_1_gib(way: str, start: bytes, size: int, place: Place, tmp_path: Path) -> None:
    """S16. (A quarter of it in the mailbox; the bound does not grow with the mail.)"""
    with (tmp_path / "huge").open("wb") as file:
        file.write(start)
        file.truncate(size)  # the rest are NULs that take no room
    run = subprocess.run([sys.executable, "-c", _HUGE, tmp_path, tmp_path / "huge", way], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64 << 10
    (facts,) = place.facts()
    assert facts.envelope.truncated
    assert facts.envelope.size == size - (len(b"From x\n") if start.startswith(b"From") else 0)


def test_below_min_free_the_import_stops(place: Place, tmp_path: Path) -> None:
    acceptor = place.acceptor(room=Room(1 << 60, [tmp_path]))
    with pytest.raises(ImportStopped, match=r"ingest\.min_free"):
        list(run_import([mailbox(tmp_path / "box", 1)], Options(), acceptor))


def test_files_in_folders_that_do_not_look_like_mail_are_counted(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    folder.mkdir()
    mailbox(folder / "box", 1)
    for name in ("notes.txt", "box.msf"):
        (folder / name).write_bytes(b"no mail\n")
    skipped: list[int] = []
    assert len(list(run_import([folder], Options(), place.acceptor(), skipped=skipped.append))) == 1
    assert skipped == [2]
