"""The archive: what was put is there, durably, until its last owner lets go."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from postroom.archive import ObjectArchive
from streams.faults import Hold
from tests.ingest.bucket import Bucket

DATA = b"a large mail\r\n" * 1000
DIGEST = sha256(DATA).hexdigest()


@pytest.fixture(params=["file", "memory", "s3"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectArchive:
    """One of each kind of store."""
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        return ObjectArchive(bucket.url, tmp_path)
    return ObjectArchive("file:archive/" if request.param == "file" else "memory://", tmp_path)


def file_of(folder: Path) -> Path:
    return folder / "archive" / DIGEST[:2] / DIGEST[2:4] / DIGEST


def test_the_same_bytes_have_one_reference_and_come_back(archive: ObjectArchive) -> None:
    reference = archive.put(DATA, DIGEST, "mail1")
    assert archive.put(DATA, DIGEST, "mail2") == reference
    assert archive.get(reference) == DATA


def test_what_is_gone_is_none(archive: ObjectArchive) -> None:
    archive.put(DATA, DIGEST)
    assert archive.get("sha256:" + "0" * 64) is None
    assert archive.get("elsewhere:1") is None
    assert archive.get("sha256:../../../etc/passwd") is None


def test_bytes_go_with_the_last_who_refers_to_them(archive: ObjectArchive) -> None:
    reference = archive.put(DATA, DIGEST, "mail1")
    archive.put(DATA, DIGEST, "mail2")
    assert not archive.release(reference, "mail1")
    assert archive.get(reference) == DATA
    assert archive.release(reference, "mail2")
    assert archive.get(reference) is None
    assert archive.release(reference, "mail2")


def test_an_archive_that_was_never_written_is_away_and_not_empty(archive: ObjectArchive) -> None:
    """An unmounted disk or a wrong setting must not make every mail `mail-gone`."""
    with pytest.raises(Hold, match="is it mounted"):
        archive.get("sha256:" + DIGEST)


def test_a_store_that_fails_is_away_and_comes_back(bucket: Bucket, tmp_path: Path) -> None:
    archive = ObjectArchive(bucket.url, tmp_path)
    reference = archive.put(DATA, DIGEST, "mail1")
    bucket.broken = True
    with pytest.raises(Hold, match=r"archive\.url"):
        archive.get(reference)
    with pytest.raises(Hold, match=r"archive\.url"):
        archive.put(DATA, DIGEST, "mail2")
    bucket.broken = False
    assert archive.get(archive.put(DATA, DIGEST, "mail2")) == DATA


def test_a_path_below_a_regular_file_is_away_and_comes_back(tmp_path: Path) -> None:
    """A11."""
    blocked = tmp_path / "blocked"
    blocked.touch()
    archive = ObjectArchive("file:blocked/archive/", tmp_path)
    for _ in range(2):
        with pytest.raises(Hold, match=r"archive\.url = 'file:blocked/archive/' cannot be used"):
            archive.put(DATA, DIGEST)
        with pytest.raises(Hold):
            archive.get("sha256:" + DIGEST)
    blocked.unlink()
    assert archive.get(archive.put(DATA, DIGEST)) == DATA


def test_an_archive_that_was_moved_away_under_us_is_made_again(tmp_path: Path) -> None:
    archive = ObjectArchive("file:archive/", tmp_path)
    reference = archive.put(DATA, DIGEST)
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with pytest.raises(Hold):
        archive.get(reference)
    with pytest.raises(Hold):
        archive.put(DATA, DIGEST)
    assert archive.get(archive.put(DATA, DIGEST)) == DATA


def test_damaged_bytes_are_an_error_and_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = ObjectArchive("file:archive/", tmp_path)
    reference = archive.put(DATA, DIGEST)
    file_of(tmp_path).write_bytes(DATA[:-1])
    with caplog.at_level(logging.ERROR):
        assert archive.get(reference) is None
    assert DIGEST in caplog.text
    archive.put(DATA, DIGEST)
    assert archive.get(reference) == DATA


def test_many_can_put_the_same_and_other_bytes_at_once(tmp_path: Path) -> None:
    archives = [ObjectArchive("file:archive/", tmp_path) for _ in range(4)]
    mails = [b"%d" % (number % 10) * 1000 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        references = list(
            pool.map(lambda pair: archives[pair[0] % 4].put(pair[1], sha256(pair[1]).hexdigest(), str(pair[0])), enumerate(mails))
        )
    assert [archives[0].get(reference) for reference in references] == mails


def test_who_puts_while_the_last_owner_lets_go_finds_the_bytes(tmp_path: Path) -> None:
    first, second = ObjectArchive("file:archive/", tmp_path), ObjectArchive("file:archive/", tmp_path)
    with ThreadPoolExecutor(2) as pool:
        for number in range(50):
            first.put(DATA, DIGEST, "old")
            gone, reference = pool.submit(first.release, "sha256:" + DIGEST, "old"), pool.submit(second.put, DATA, DIGEST, f"new{number}")
            gone.result()
            assert second.get(reference.result()) == DATA
            second.release(reference.result(), f"new{number}")


def test_a_put_returns_when_file_and_names_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore's own local store writes and renames without an fsync, which is why this one is ours."""
    synced: list[str] = []
    really_sync, really_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        really_sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        assert str(source) in synced, "renamed before it was synced"
        synced.append(f"renamed {target}")
        really_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    ObjectArchive("file:archive/", tmp_path).put(DATA, DIGEST, "mail1")
    file = file_of(tmp_path)
    assert synced.index(str(file.parent), synced.index(f"renamed {file}")) > 0
    assert {str(file.parent.parent), str(tmp_path / "archive"), str(tmp_path)} <= {*synced}


@pytest.mark.parametrize("url", ["ftp://example.org/x", "archive/", "file:", "file://elsewhere/archive", ""])
def test_a_setting_that_names_no_archive_is_refused_by_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"archive\.url = "):
        ObjectArchive(url, tmp_path)


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    ObjectArchive("file:archive/", tmp_path).put(DATA, DIGEST)
    assert file_of(tmp_path).stat().st_mode & 0o077 == 0
    assert (tmp_path / "archive").stat().st_mode & 0o077 == 0
