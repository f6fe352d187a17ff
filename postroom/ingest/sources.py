"""Where `import` finds mails: files of one mail, mailboxes, Maildirs, and directories of these, as a stream of mails."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BufferedReader, FileIO
from pathlib import Path
from typing import NamedTuple

from postroom.ingest import emlx, mbox
from postroom.ingest.reading import Kept, read_mail
from topology import head

_BUFFER = 64 << 10
_PEEK = 8 << 10
"""Octets by which a file is recognised."""
_MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some programs write before the mail; no part of it."""
_BOXES = (".mbox", ".mbx")
_FIELD = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*[ \t]*:")
_TELLING = re.compile(rb"^(?:return-path|received|from|date|message-id|subject|to)[ \t]*:", re.IGNORECASE | re.MULTILINE)
"""Fields of which one stands in every mail, and in few other files that begin like a header."""


@dataclass(frozen=True, slots=True)
class Found:
    """One mail. path: as shown to people and tools. index: its number in that file, from 0. time: the mailbox's separator's or
    the file's, in ms since 1970 UTC. done: octets of all sources that have been read, this mail included."""

    path: str
    index: int
    mail: Kept
    time: int
    done: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder that cannot be read, or not to its end. index: how many of its mails came before; None for none."""

    path: str
    index: int | None
    error: str


class Sources:
    """The mails under some paths. A file that is named itself is taken as mail whatever is in it. In directories (with those below
    them, by name; links to folders are not followed) what is called .eml, .emlx or .mbox, or looks like mail, is. A Maildir is known by
    its cur and new; its mails come by file name, which begins with the time of arrival. Every iteration begins afresh."""

    def __init__(self, paths: Iterable[Path], max_size: int) -> None:
        self._paths = [*paths]
        self._max_size = max_size
        self.skipped = 0
        """Files in directories that did not look like mail, in the last iteration so far."""

    def total(self) -> int:
        """Octets that there are to read, as far as it can be seen now; for a progress bar."""
        return sum(_size(place.path) for place in self._places() if isinstance(place, _Place))

    def __iter__(self) -> Iterator[Found | Unreadable]:
        self.skipped = 0
        done = 0
        for place in self._places():
            if isinstance(place, Unreadable):
                yield place
                continue
            for found in self._read(place):
                yield replace(found, done=done + found.done) if isinstance(found, Found) else found
            done += _size(place.path)

    def _places(self) -> "Iterator[_Place | Unreadable]":
        for path in self._paths:
            if os.path.isdir(path):  # Path.is_dir raises on a folder that may not be entered
                yield from _walk(path)
            else:
                yield _Place(path, named=True)

    def _read(self, place: "_Place") -> Iterator[Found | Unreadable]:
        name, index = shown(place.path), None
        try:
            with BufferedReader(FileIO(place.path), _BUFFER) as file:
                changed = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
                beginning = file.peek(_PEEK)[:_PEEK]
                start = 0 if place.single else _mark(beginning)
                beginning = beginning[len(file.read(start)) :]
                if not place.named and not _is_mail(place.path, beginning):
                    self.skipped += 1
                elif mbox.starts(beginning) and not place.single:
                    for index, boxed in enumerate(mbox.mails(file, self._max_size)):
                        yield Found(name, index, boxed.mail, changed if boxed.time is None else boxed.time, start + boxed.end)
                elif place.path.suffix.lower() == emlx.SUFFIX and emlx.starts(beginning) and not place.single:
                    mail = emlx.mail(file, self._max_size)
                    yield Found(name, 0, mail, changed, mail.size)
                elif beginning or place.path.suffix not in _BOXES:
                    mail = read_mail(file, self._max_size)
                    yield Found(name, 0, mail, changed, start + mail.size)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not place.named and not _is_named(place.path):
                self.skipped += 1  # a program's lock, for one, is a link that leads nowhere
            else:
                yield _unreadable(place.path, error, None if index is None else index + 1)


class _Place(NamedTuple):
    """A file. named: it is mail because somebody said so, not by its looks. single: it is one mail, and no mailbox."""

    path: Path
    named: bool = False
    single: bool = False


def _walk(root: Path) -> Iterator[_Place | Unreadable]:
    """The files below a directory: those of a folder by name, then those of its folders."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            folders, files = _listed(folder)
        except OSError as error:
            yield _unreadable(folder, error)
            continue
        if {"cur", "new"} <= {*folders}:
            yield from _maildir(folder)
            folders = [name for name in folders if name not in ("cur", "new", "tmp")]
        else:
            yield from (_Place(file) if isinstance(file, Path) else file for file in files)
        waiting += [folder / name for name in reversed(folders)]


def _maildir(folder: Path) -> Iterator[_Place | Unreadable]:
    mails: list[Path] = []
    for part in (folder / "cur", folder / "new"):
        try:
            _, files = _listed(part)
        except OSError as error:
            yield _unreadable(part, error)
            continue
        mails += [file for file in files if isinstance(file, Path) and not file.name.startswith(".")]
        yield from (file for file in files if isinstance(file, Unreadable))
    yield from (_Place(path, named=True, single=True) for path in sorted(mails, key=lambda path: path.name))


def _listed(folder: Path) -> tuple[list[str], list[Path | Unreadable]]:
    """The folders in a folder, and its files, links to files or to nothing with them; by name. What cannot be looked at, as a link to
    itself, is one of the files. Raises OSError when the folder itself cannot be read."""
    folders: list[str] = []
    files: list[Path | Unreadable] = []
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        try:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry)):
                files.append(folder / entry.name)  # that a link leads nowhere is told when it is read
        except OSError as error:
            files.append(_unreadable(folder / entry.name, error))
    return folders, files


def _unreadable(path: Path, error: OSError, index: int | None = None) -> Unreadable:
    return Unreadable(shown(path), index, f"cannot be read: {error.strerror or error}")


def _mark(beginning: bytes) -> int:
    """The octets of a mark that stands before a header or a mailbox."""
    rest = beginning.removeprefix(_MARK)
    return len(beginning) - len(rest) if mbox.starts(rest) or _FIELD.match(rest) else 0


def _is_named(path: Path) -> bool:
    return path.suffix.lower() in (".eml", emlx.SUFFIX, *_BOXES)


def _is_mail(path: Path, beginning: bytes) -> bool:
    if _is_named(path) or mbox.starts(beginning):
        return True
    return bool(_FIELD.match(beginning) and _TELLING.search(head.split(beginning)[0]))


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def shown(path: Path) -> str:
    """The path as text that JSON can carry: a name need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
