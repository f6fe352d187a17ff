"""The archive: where large mails live, by content. A directory by default; any object store that obstore knows, by URL.

Layout, the same in a directory and in a bucket:

    postroom-archive            says that this is an archive, so that an empty mount point is not taken for one that lost its mails
    ab/cd/<sha256>              the bytes
    ab/cd/<sha256>.<owner>      empty: this owner (a mail id, a reply id) refers to them

The owners are how references are counted: `put` writes the owner before the bytes, and `release` takes one owner away and
the bytes with the last one. Directories are written here and not through obstore's LocalStore, which does not fsync.
"""

import errno
import logging
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

from obstore.exceptions import BaseError

from postroom.archive.stores import REMOTE, Directory, Entry, Remote, Store, file_path, open_store, words
from streams.faults import Hold

_MARK = "postroom-archive"
_SCHEME = "sha256:"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger("postroom.archive")
_T = TypeVar("_T")


class ArchiveFull(Hold):
    """The archive has no room left. Ingest answers 452 or 75, and goes on when there is room."""


class Stored(NamedTuple):
    """Something that the archive has. digest: of the bytes, hex; "" for what a writer that was killed left unfinished. owner: it is
    a reference to the bytes, and not these. size: octets; modified: ms since 1970, the last time that it was put."""

    key: str
    digest: str
    owner: bool
    size: int
    modified: int


class ObjectArchive:
    """See `topology.ports.Archive`. Opening touches nothing: an archive that is away is met by the first call. Thread-safe."""

    def __init__(self, url: str, base: Path) -> None:
        """url: `file:archive/` (relative to `base`, the settings' folder), or s3://, gs://, az://, memory:// with credentials
        where their programs look for them (the environment). Raises ValueError, naming the setting."""
        self.url = url
        self.directory: Path | None = None
        """Where the archive is a directory; for the free space on its disk."""
        if url.startswith("file:"):
            self.directory = base / file_path(url)
            self._objects: Store = Directory(self.directory)
        elif url.startswith(REMOTE):
            self._objects = Remote(open_store(url))
        else:
            raise ValueError(f"archive.url = {url!r}: expected file:FOLDER, {', '.join(REMOTE)}")
        self._marked = False

    def put(self, data: bytes, digest: str, owner: str = "") -> str:
        """Stores the bytes durably (on a directory: file and folders fsynced) and returns their reference. digest: their SHA-256
        in hex. owner: who refers to them, letters and digits. The same bytes give the same reference, and writing them again
        does no harm. Raises Hold, ArchiveFull."""
        key = _key(digest)
        self._guard(self._mark)
        self._guard(lambda: self._objects.write({f"{key}.{owner}": b"", key: data} if owner else {key: data}))
        return _SCHEME + digest

    def get(self, reference: str) -> bytes | None:
        """The bytes; None when they are gone. Bytes that are not those that were stored are logged as an error, and gone.
        Raises Hold."""
        digest = _digest(reference)
        if digest is None:
            return None
        data = self._guard(lambda: self._read(_key(digest)))
        if data is not None and sha256(data).hexdigest() != digest:
            _log.error("archive.url = %r: the object %s is damaged: its SHA-256 is not its name", self.url, _key(digest))
            return None
        return data

    def __contains__(self, digest: str) -> bool:
        """Whether the bytes of that SHA-256 (hex) are here. Raises Hold."""
        name = _key(digest)
        return self._guard(lambda: any(entry.name == name for entry in self._objects.entries(name.rpartition("/")[0])))

    def release(self, reference: str, owner: str) -> bool:
        """Takes `owner` from those who refer to the bytes; with the last one the bytes go too. Returns whether they are gone now.
        Raises Hold."""
        digest = _digest(reference)
        return digest is not None and self._guard(lambda: self._release(_key(digest), owner))

    def owners(self, reference: str) -> list[str]:
        """Who refers to the bytes. Raises Hold."""
        digest = _digest(reference)
        return [] if digest is None else self._guard(lambda: [entry.name.partition(".")[2] for entry in self._owners(_key(digest))])

    def demand(self) -> None:
        """Raises Hold where the archive is away, or this is none."""
        self._guard(lambda: self._read(_MARK))

    def begun(self) -> bool:
        """Whether anything was ever put here. Raises Hold."""
        return self._guard(lambda: self._find(_MARK) is not None)

    def stored(self) -> Iterator[Stored]:
        """All that is here, in no order, with little memory. Raises Hold, also where this is no archive."""
        self.demand()
        found = self._objects.entries("")
        while (entry := self._guard(lambda: next(found, None))) is not None:
            folder, _, name = entry.name.rpartition("/")
            digest, dot, _ = name.partition(".")
            if folder == digest[:2] + "/" + digest[2:4] and len(digest) == 64:
                yield Stored(entry.name, digest, bool(dot), entry.size, entry.modified)
            elif name.startswith("."):
                yield Stored(entry.name, "", False, entry.size, entry.modified)

    def keys(self) -> Iterator[str]:
        """The keys of all that is here, bytes and owners. Raises Hold."""
        return (stored.key for stored in self.stored() if stored.digest)

    def object(self, key: str) -> bytes | None:
        """What stands under a key as `keys` gives it; None when it is gone. Raises Hold."""
        return self._guard(lambda: self._read(key))

    def take(self, key: str, data: bytes) -> None:
        """Writes what another archive had under a key, durably. Raises Hold, ArchiveFull."""
        self._guard(self._mark)
        self._guard(lambda: self._objects.write({key: data}))

    def discard(self, orphan: Stored, before: int) -> bool:
        """Takes away what nothing refers to, with its owners. before: ms since 1970; bytes that were put again since then stay, and
        False is given. Raises Hold."""
        return self._guard(lambda: self._discard(orphan, before))

    def _discard(self, orphan: Stored, before: int) -> bool:
        if not orphan.digest:
            self._delete(orphan.key)
            return True
        key = _key(orphan.digest)
        data = self._find(key)
        self._delete(key)
        owners = self._owners(key)
        # Whoever puts the same mail at this moment has renewed the time of his owner before he wrote the bytes.
        if any(owner.modified >= before for owner in owners):
            if data is not None:
                self._objects.write({key: data})
            return False
        for owner in owners:
            self._delete(f"{key.rpartition('/')[0]}/{owner.name}")
        return True

    def _release(self, key: str, owner: str) -> bool:
        self._delete(f"{key}.{owner}")
        if self._owners(key):
            return False
        data = self._read(key)
        self._delete(key)
        # The same mail may be coming in at this moment: whoever puts it writes his name first, so he is seen here at the latest.
        if data is not None and self._owners(key):
            self._objects.write({key: data})
            return False
        return True

    def _owners(self, key: str) -> list[Entry]:
        """Their names are without the folder."""
        folder, _, name = key.rpartition("/")
        entries = [entry._replace(name=entry.name.rpartition("/")[2]) for entry in self._objects.entries(folder)]
        return [entry for entry in entries if entry.name.startswith(name + ".")]

    def _delete(self, key: str) -> None:
        try:
            self._objects.delete(key)
        except FileNotFoundError:
            return

    def _find(self, key: str) -> bytes | None:
        try:
            return self._objects.read(key)
        except FileNotFoundError:
            return None

    def _read(self, key: str) -> bytes | None:
        data = self._find(key)
        if data is None and self._find(_MARK) is None:
            raise FileNotFoundError(f"no file {_MARK!r} in it: is it mounted, and is the setting right?")
        return data

    def _mark(self) -> None:
        if not self._marked:
            self._objects.write({_MARK: b"mails by the SHA-256 of their bytes; see postroom's documentation\n"})
            self._marked = True

    def _guard(self, call: Callable[[], _T]) -> _T:
        """The one place where the store's errors get a meaning: all of them say that the archive is away."""
        try:
            return call()
        except (OSError, BaseError) as error:
            self._marked = False
            kind = ArchiveFull if isinstance(error, OSError) and error.errno in _NO_ROOM else Hold
            raise kind("archive", f"archive.url = {self.url!r} cannot be used: {words(error)}") from error


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


def _digest(reference: str) -> str | None:
    digest = reference.removeprefix(_SCHEME)
    return digest if len(digest) == 64 and digest.isalnum() and digest != reference else None
