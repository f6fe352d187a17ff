"""fsck holds the archive against the log."""

import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from postroom.archive import ObjectArchive
from postroom.reading.fsck import fsck
from postroom.reading.holdings import GRACE_MS, Holdings, hold_against
from postroom.reading.references import References
from streams.faults import Hold
from tests.ingest.bucket import Bucket
from tests.reading.conftest import Postroom
from tests.reading.story import Story

LATER = int(time.time() * 1000) + 2 * GRACE_MS


def held(story: Story, archive: ObjectArchive, now_ms: int = LATER, *, remove: bool = False) -> Holdings | None:
    """The archive held against the log."""
    references = References()
    fsck(story.log, story.topics, pause=0, references=references)
    return hold_against(archive, references, story.log, story.topics, now_ms, remove=remove)


def archived(story: Story, archive: ObjectArchive, number: int) -> tuple[str, str]:
    """A handled mail whose bytes are in the archive: its mail id, and their digest."""
    data = b"From: test@example.org\nMessage-ID: <%d@x>\n\nhello\n" % number
    digest = sha256(data).hexdigest()
    facts = story.handled(number, archived=f"sha256:{digest}")
    archive.put(data, digest, facts.envelope.mail_id)
    return facts.envelope.mail_id, digest


@pytest.fixture
def archive(tmp_path: Path) -> ObjectArchive:
    """A folder."""
    return ObjectArchive("file:archive/", tmp_path)


def path_of(folder: Path, digest: str) -> Path:
    return folder / "archive" / digest[:2] / digest[2:4] / digest


def test_where_there_is_no_archive_nothing_is_told(story: Story, archive: ObjectArchive) -> None:
    story.handled(1)
    assert held(story, archive) is None


def test_an_archive_that_has_what_the_log_needs_is_sound(story: Story, archive: ObjectArchive) -> None:
    for number in range(30):
        archived(story, archive, number)
    found = held(story, archive)
    assert found
    assert (found.counts["objects"], found.counts["missing"], found.counts["orphans"]) == (30, 0, 0)


def test_a_missing_object_is_told_with_its_mail(story: Story, archive: ObjectArchive, postroom: Postroom, tmp_path: Path) -> None:
    archived(story, archive, 1)
    mail, digest = archived(story, archive, 2)
    story.all_passed()
    path_of(tmp_path, digest).unlink()
    found = held(story, archive)
    assert found
    assert (found.counts["missing"], [one["mail_id"] for one in found.records]) == (1, [mail])
    told = postroom("fsck")
    assert told.exit_code == 1
    assert f"missing: the archive does not have sha256:{digest}\n  mail {mail}" in told.stdout


def test_a_mail_that_was_erased_misses_nothing_but_another_with_its_bytes_does(
    story: Story, archive: ObjectArchive, postroom: Postroom, tmp_path: Path
) -> None:
    mail, digest = archived(story, archive, 1)
    story.all_passed()
    assert postroom("erase", "--id", mail, "--apply").exit_code == 0
    assert not path_of(tmp_path, digest).exists()
    found = held(story, archive)
    assert found is None or found.counts["missing"] == 0
    other = story.handled(1, sender="else@example.org", archived=f"sha256:{digest}")
    found = held(story, archive)
    assert found
    assert [one["mail_id"] for one in found.records] == [other.envelope.mail_id]


def test_what_nothing_refers_to_is_an_orphan_after_a_day_and_can_be_removed(story: Story, archive: ObjectArchive, tmp_path: Path) -> None:
    _, needed = archived(story, archive, 1)
    archive.put(b"put, and then the ingest was killed", (orphan := sha256(b"put, and then the ingest was killed").hexdigest()), "a" * 32)
    half = path_of(tmp_path, needed).with_name(f".{needed}.1.abc")
    half.write_bytes(b"half of it")
    now = int(time.time() * 1000)
    young = held(story, archive, now, remove=True)
    assert young
    assert (young.counts["objects"], young.counts["orphans"]) == (2, 0)
    old = held(story, archive, remove=False)
    assert old
    assert (old.counts["orphans"], old.counts["removed"], path_of(tmp_path, orphan).exists()) == (2, 0, True)
    removed = held(story, archive, remove=True)
    assert removed
    assert (removed.counts["orphans"], removed.counts["removed"]) == (2, 2)
    left = [path.name for path in (tmp_path / "archive").rglob("*") if path.is_file()]
    assert sorted(name.partition(".")[0] for name in left) == sorted([needed, needed, "postroom-archive"])


def test_an_orphan_that_comes_in_again_as_it_is_removed_stays(archive: ObjectArchive, tmp_path: Path) -> None:
    """An ingest renews its name before it writes the bytes, so who removes them sees it and puts them back."""
    data = b"a large mail"
    digest = sha256(data).hexdigest()
    archive.put(data, digest, "b" * 32)
    (orphan,) = (stored for stored in archive.stored() if not stored.owner)
    day_old = time.time() - 2 * GRACE_MS / 1000
    os.utime(path_of(tmp_path, digest), (day_old, day_old))
    assert not archive.discard(orphan, int(time.time() * 1000) - GRACE_MS)
    assert archive.get(f"sha256:{digest}") == data


def test_an_archive_that_is_away_is_no_archive_with_everything_missing(story: Story, archive: ObjectArchive, tmp_path: Path) -> None:
    archived(story, archive, 1)
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    with pytest.raises(Hold, match="is it mounted"):
        held(story, archive)


def test_a_bucket_is_held_against_the_log_likewise(story: Story, bucket: Bucket, tmp_path: Path) -> None:
    archive = ObjectArchive(bucket.url, tmp_path)
    archived(story, archive, 1)
    _, gone = archived(story, archive, 2)
    archive.put(b"orphan", (orphan := sha256(b"orphan").hexdigest()), "c" * 32)
    bucket.objects.pop(next(key for key in bucket.objects if key.endswith(gone)))
    found = held(story, archive, remove=True)
    assert found
    assert (found.counts["objects"], found.counts["missing"], found.counts["removed"]) == (2, 1, 1)
    assert not any(orphan in key for key in bucket.objects)
