"""`postroom backup` and `restore`: what is put by can be put back, and is whole."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from postroom.copying.backup import take
from postroom.copying.copy import Differs, Tick
from postroom.site import Site
from streams.errors import Fatal
from tests.broker.shared import bootstrap
from tests.copying.test_copy import ends_well, told
from tests.copying.town import Town
from tests.onkafka.waiting import until

pytestmark = [pytest.mark.timeout(240)]


def lost(town: Town) -> None:
    """The log and the archive are gone."""
    for path in town.place.folder.glob("postroom.db*"):
        path.unlink()
    shutil.rmtree(town.place.folder / "archive")


def test_a_backup_taken_while_mails_come_in_is_one_moment_and_is_put_back_as_it_was(town: Town, tmp_path: Path) -> None:
    place = town.place
    backup = tmp_path / "backup"
    mails = tmp_path / "mails"
    mails.mkdir()
    for number in range(300):
        (mails / f"{number}.eml").write_text(town.letter("many@foo.com"))
    running = [place.start("run", "chain"), place.start("import", str(mails))]
    try:
        with closing(town.site()) as site:
            before = raws(site)
            until(lambda: raws(site) > before, "mails come in")
            (made,) = place.lines("backup", str(backup))
    finally:
        for one in running:
            one.send_signal(signal.SIGTERM)
            one.wait()
    assert {path.name for path in backup.iterdir()} == {"log.db", "archive", "backup.json"}
    assert made["contents"] == 1
    assert made["fsck"]["raw"] > before
    assert not (made["fsck"]["lost"] or made["fsck"]["doubled"] or made["fsck"]["unknown"])
    place.run("restore", str(backup), status=2)
    assert "holds records already" in place.stderr
    lost(town)
    place.run("restore", str(backup))
    assert made["taken_at"] in place.stderr
    assert town.fsck()["raw"] == made["fsck"]["raw"]
    assert town.fsck()["archive"]["missing"] == 0
    place.run("backup", str(backup), status=2)
    assert "is there already" in place.stderr


def test_of_two_backups_to_one_folder_the_first_that_is_whole_has_it_and_nothing_of_the_other_stays(town: Town, tmp_path: Path) -> None:
    to = tmp_path / "put-by" / "nightly"
    mine = to.with_name("nightly.partial")
    mine.mkdir(parents=True)
    (mine / "notes").write_text("a user's own")
    begun: list[str] = []

    @contextmanager
    def meanwhile(what: str, _total: int | None) -> Iterator[Tick]:
        yield lambda _count: None
        if what == "log" and not begun:
            begun.append(what)
            town.place.run("backup", str(to))

    with closing(town.site()) as site, pytest.raises(Fatal, match="meanwhile"):
        take(site, to, meanwhile)
    assert {path.name for path in to.parent.iterdir()} == {"nightly", "nightly.partial"}
    assert (mine / "notes").read_text() == "a user's own"
    assert to.stat().st_mode & 0o777 == 0o700
    before = told(town)
    lost(town)
    town.place.run("restore", str(to))
    assert told(town) == before


@pytest.mark.parametrize("to", ["file/nightly", f"{'x' * 250}"])
def test_a_place_where_no_backup_can_be_written_is_refused_with_a_line(town: Town, tmp_path: Path, to: str) -> None:
    (tmp_path / "put-by").mkdir()
    (tmp_path / "put-by" / "file").touch()
    town.place.run("backup", str(tmp_path / "put-by" / to), status=2)
    (line,) = town.place.stderr.splitlines()
    assert f"{to}: no backup can be written there: " in line
    assert [path.name for path in (tmp_path / "put-by").iterdir()] == ["file"]


def without_any(archive: Path) -> None:
    shutil.rmtree(archive)


def with_half_a_mail(archive: Path) -> None:
    (mail,) = (path for path in archive.glob("*/*/*") if "." not in path.name)
    mail.write_bytes(mail.read_bytes()[: mail.stat().st_size // 2])


@pytest.mark.parametrize("damage", [without_any, with_half_a_mail])
def test_a_backup_whose_archive_has_lost_a_mail_is_refused_and_one_of_such_a_log_is_not(
    town: Town, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    place = town.place
    backup, poorer = tmp_path / "backup", tmp_path / "poorer"
    (made,) = place.lines("backup", str(backup))
    assert (made["contents"], made["missing"]) == (1, 0)
    damage(backup / "archive")
    lost(town)
    place.run("restore", str(backup), status=1)
    assert "the bytes of 1 mails are missing instead of 0" in place.stderr
    assert not list(place.folder.glob("postroom.db*[!k]"))

    with closing(town.site()) as site:
        place.run("copy", f"sqlite:///{backup}/log.db?prefix={site.topics.prefix}", str(place.folder / "postroom.toml"))
    (made,) = place.lines("backup", str(poorer), status=1)
    assert (made["contents"], made["missing"]) == (0, 1)
    assert "misses the bytes of 1 mails" in place.stderr
    for path in place.folder.glob("postroom.db*"):
        path.unlink()
    (put_back,) = place.lines("restore", str(poorer), status=1)
    assert put_back["missing"] == 1
    assert "misses the bytes of 1 mails" in place.stderr
    assert "silent_before" in place.stderr


def test_a_backup_that_has_lost_a_mail_serves_an_installation_that_still_has_it(town: Town, tmp_path: Path) -> None:
    before = told(town)
    town.place.run("backup", str(tmp_path / "backup"))
    with_half_a_mail(tmp_path / "backup" / "archive")
    for path in town.place.folder.glob("postroom.db*"):
        path.unlink()
    (put_back,) = town.place.lines("restore", str(tmp_path / "backup"))
    assert (put_back["contents"], put_back["missing"]) == (0, 0)
    assert told(town) == before


def test_an_archive_that_is_lost_keeps_a_log_with_another_number_of_partitions_out_too(town: Town, tmp_path: Path) -> None:
    town.place.run("backup", str(tmp_path / "backup"))
    without_any(tmp_path / "backup" / "archive")
    lost(town)
    town.moves_to("sqlite:///other.db", partitions=3)
    town.place.run("restore", str(tmp_path / "backup"), status=1)
    assert "the bytes of 1 mails are missing instead of 0" in town.place.stderr
    assert not (town.place.folder / "other.db").exists()


def test_what_does_not_come_into_a_backup_though_it_is_there_is_seen_before_it_has_its_name(town: Town, tmp_path: Path) -> None:
    @contextmanager
    def losing(what: str, _total: int | None) -> Iterator[Tick]:
        if what == "checking":
            (partial,) = (tmp_path / "put-by").iterdir()
            without_any(partial / "archive")
        yield lambda _count: None

    with closing(town.site()) as site, pytest.raises(Differs, match="1 contents that mails need are there, and not in the backup"):
        take(site, tmp_path / "put-by" / "nightly", losing)
    assert list((tmp_path / "put-by").iterdir()) == []


def raws(site: Site) -> int:
    """How many mails the log has taken."""
    return sum(extent.end for extent in site.log.extents(site.topics.raw))


def test_an_older_log_that_is_put_back_goes_on_and_is_silent_about_what_came_before(town: Town, tmp_path: Path) -> None:
    before = told(town)
    town.place.run("backup", str(tmp_path / "backup"))
    lost(town)
    town.place.run("restore", str(tmp_path / "backup"))
    assert told(town) == before
    settings = town.place.folder / "postroom.toml"
    settings.write_text(settings.read_text().replace("[replies]\n", '[replies]\nsilent_before = "2100-01-01T00:00:00+02:00"\n'))
    letters = len(town.place.outbox())
    town.goes_on()
    assert len(town.place.outbox()) == letters
    rows = town.outcomes()
    assert {row["reply"] for row in rows if row["message_id"] == waiting(before)} == {"silent:silent-before"}
    assert "waiting" not in {row["reply"] for row in rows}


def waiting(before: dict[str, object]) -> str:
    """The Message-ID of a mail whose reply was owed."""
    rows = before["outcomes"]
    assert isinstance(rows, list)
    return str(next(row["message_id"] for row in rows if row["reply"] == "waiting"))


@pytest.mark.soak  # long; and on Kafka a backup is a copy, which test_copy holds
@pytest.mark.kafka
@pytest.mark.xdist_group("kafka")
def test_a_log_on_kafka_is_put_by_and_a_backup_can_be_put_back_there(town: Town, tmp_path: Path) -> None:
    before = told(town)
    town.place.run("backup", str(tmp_path / "one"))
    town.moves_to(f"kafka://{bootstrap()}", partitions=2, prefix=f"back-{tmp_path.parent.name}-{tmp_path.name}".replace("_", "-")[:80])
    town.place.run("restore", str(tmp_path / "one"))
    assert told(town) == before
    (made,) = town.place.lines("backup", str(tmp_path / "two"))
    town.moves_to("sqlite:///again.db")
    town.place.run("restore", str(tmp_path / "two"))
    assert told(town) == before
    assert made["fsck"]["raw"] == town.fsck()["raw"]
    ends_well(town)
