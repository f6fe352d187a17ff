"""A backup: a folder with the log as a SQLite file, the archive, and a word on both; and putting it back.

    log.db          the log as of one moment
    archive/        the contents that it refers to
    backup.json     when, which prefix, what fsck said

It is written in a folder of the call's own, which is renamed when it is whole. The log is taken first: whatever it refers to was in the
archive before.
"""

import errno
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import orjson

from postroom.archive import ObjectArchive
from postroom.copying.copy import Bar, Differs, Tick, copy
from postroom.copying.ends import file_of, filling, refuse_missing, stands_still, with_log
from postroom.copying.objects import carry
from postroom.reading.fsck import fsck
from postroom.reading.holdings import missing
from postroom.reading.references import References
from postroom.site import Site, now_ms
from streams.disk import sync
from streams.errors import Fatal
from streams.log import Log
from streams.sqlite import SqliteLog, schema
from streams.sqlite.border import border
from streams.sqlite.copying import FileInPlace
from topology.facts import rfc3339
from topology.records import Topics

LOG, ARCHIVE, WORD = "log.db", "archive", "backup.json"
_PARTIAL = ".partial"
_VERSION = 2
"""2 has `missing`."""
_PAGES = 4096
"""Pages of a step of the copying: 16 MiB."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What backup.json says. taken_at: the moment that the log shows, RFC 3339; contents: how many the archive has; fsck: its counts;
    missing: the number of mails whose bytes the archive does not have, though the log says so."""

    taken_at: str
    prefix: str
    contents: int
    fsck: dict[str, int]
    missing: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": _VERSION} | asdict(self)

    @classmethod
    def read(cls, folder: Path) -> "Backup":
        """Raises Fatal where that is no backup, or of a newer release."""
        try:
            document = orjson.loads((folder / WORD).read_bytes())
            version = document.pop("version")
        except (OSError, ValueError, KeyError) as error:
            raise Fatal(f"{folder}: no backup of postroom's: there is no {WORD} that can be read") from error
        if version > _VERSION:
            raise Fatal(f"{folder}: a backup of version {version}; this program reads {_VERSION}: use the newer release")
        return cls(**document)


def take(site: Site, to: Path, bar: Bar) -> Backup:
    """Writes a backup into a folder that is not there, or empty. On SQLite others may work on the log meanwhile; on Kafka nobody may.
    Raises Fatal, also where somebody else has filled the folder meanwhile, Transient, Hold, Differs, Busy; then nothing is left behind."""
    try:
        to = to.resolve()
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise Fatal(f"{to} is there already: name a folder that is not, or is empty")
        to.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(_PARTIAL, f"{to.name}.", to.parent))  # nobody else's, whoever else writes a backup of that name
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # it is no wrong place: the command line asks for another try
        raise Fatal(f"{to}: no backup can be written there: {error.strerror or error}; name another folder") from error
    try:
        backup = _write(site, partial, bar)
        _put_in_place(partial, to)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(to.parent)
    return backup


def _write(site: Site, partial: Path, bar: Bar) -> Backup:
    at = rfc3339(now_ms())
    file = file_of(site)
    if file is not None:
        with bar("log", None) as tick:
            _snapshot(file, partial / LOG, tick)
    else:
        with closing(with_log(site, f"sqlite:///{partial / LOG}", site.topics.prefix)) as target, closing(filling(target)) as new:
            copy(site, target, new, lambda: stands_still(site), bar)
    with bar("archive", None) as tick:
        contents = carry(site.archive, _archive(partial), tick)
    with bar("checking", None) as tick:
        with closing(SqliteLog(partial / LOG)) as log:
            counts, lacks = _account(log, site.topics, _archive(partial), tick)
        schema.lock_path(partial / LOG).unlink(missing_ok=True)
    there = set(lacks) if site.archive.begun() else set()
    if left := sum(site.archive.get(f"sha256:{digest}") is not None for digest in there):
        raise Differs(f"{site.archive.url}: {left:,} contents that mails need are there, and not in the backup; nothing was put by")
    backup = Backup(at, site.topics.prefix, contents, counts, len(lacks))
    sync(partial / LOG)  # before the word: a folder that has one is whole
    (partial / WORD).write_bytes(orjson.dumps(backup.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    for path in (partial / WORD, partial):
        sync(path)
    return backup


def _put_in_place(partial: Path, to: Path) -> None:
    """Gives the folder its name; an empty folder of that name gives way, and nothing else does."""
    try:
        partial.rename(to)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise Fatal(f"{to} has come there meanwhile, perhaps from another `postroom backup`: it stays, and this one is dropped") from error


def restore_log(site: Site, folder: Path, bar: Bar) -> Backup:
    """Puts a backup in place as the log and archive of an installation, whose log must hold no records. A log on Kafka, with another
    prefix or another number of partitions is filled as `copy` does it. What is returned tells of the installation: contents is how many
    its archive got, missing what it still does not have. Raises Fatal, Transient, Hold, and Differs where log or archive have lost
    something since the backup; the log is then not in place."""
    folder = folder.absolute()
    backup = Backup.read(folder)
    with closing(with_log(site, f"sqlite:///{folder / LOG}", backup.prefix)) as source:
        refuse_missing(source)
        if (file := file_of(site)) is None or not _fits(source, site):
            with closing(filling(site)) as new:
                contents = _carry(folder, site, bar)
                lacking = _refuse_loss(folder, backup, source.log, source.topics, site, bar)
                copy(source, site, new, lambda: None, bar)
            return replace(backup, contents=contents, missing=lacking)
    place = FileInPlace(file)
    try:
        place.take()
        contents = _carry(folder, site, bar)
        shutil.copyfile(folder / LOG, place.path)
        place.path.chmod(0o600)
        with closing(SqliteLog(place.path)) as log:
            lacking = _refuse_loss(folder, backup, log, site.topics, site, bar)
        schema.lock_path(place.path).unlink(missing_ok=True)
        place.finish()
    finally:
        place.close()
    return replace(backup, contents=contents, missing=lacking)


def _refuse_loss(folder: Path, backup: Backup, log: Log, topics: Topics, site: Site, bar: Bar) -> int:
    """Holds the log of a backup, and the archive that has got what the backup's has, against what it says of itself; how many mails
    miss their bytes. Raises Differs."""
    with bar("checking", None) as tick:
        found, lacks = _account(log, topics, site.archive, tick)
    if found != backup.fsck:
        raise Differs(f"{folder / LOG} is not what it was when it was written: fsck says {found} instead of {backup.fsck}")
    if len(lacks) > backup.missing:
        raise Differs(
            f"{folder / ARCHIVE} is not what it was when it was written: the bytes of {len(lacks):,} mails are missing instead of "
            f"{backup.missing:,}. The log is not in place; docs/moving.md says how to go on without them"
        )
    return len(lacks)


def _fits(source: Site, site: Site) -> bool:
    """Whether the log can be taken as it is: same prefix, and the number of partitions that the settings ask for."""
    partitions = site.settings.log.topics.partitions
    return source.topics.prefix == site.topics.prefix and source.log.partitions(source.topics.raw) == partitions


def _carry(folder: Path, site: Site, bar: Bar) -> int:
    with bar("archive", None) as tick:
        return carry(_archive(folder), site.archive, tick)


def _archive(folder: Path) -> ObjectArchive:
    return ObjectArchive(f"file:{folder / ARCHIVE}", folder)


def _snapshot(file: Path, to: Path, tick: Tick) -> None:
    """The log as of now, by SQLite's online backup. The reading transaction that is held keeps it to one moment, and from beginning again
    whenever somebody writes; the write-ahead log grows meanwhile."""
    to.touch(0o600)
    done = 0

    def progress(_status: int, remaining: int, total: int) -> None:
        nonlocal done
        tick(total - remaining - done)
        done = total - remaining

    with border(file), closing(schema.connect(file, write=False)) as source, closing(sqlite3.connect(to)) as target:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM meta").fetchone()
        source.backup(target, pages=_PAGES, progress=progress)


def _account(log: Log, topics: Topics, archive: ObjectArchive, tick: Tick) -> tuple[dict[str, int], list[str]]:
    """The counts of fsck, and what mails need and the archive does not have."""
    references = References()
    counts = fsck(log, topics, tick=tick, references=references).counts
    return counts, missing(archive, references, log, topics)
