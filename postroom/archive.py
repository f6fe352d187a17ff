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
import os
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import MemoryStore, ObjectStore, from_url

from streams.faults import Hold

_MARK = "postroom-archive"
_SCHEME = "sha256:"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REMOTE = ("s3://", "s3a://", "gs://", "az://", "azure://", "abfs://", "abfss://", "memory://")
_log = logging.getLogger("postroom.archive")
_T = TypeVar("_T")


class ArchiveFull(Hold):
    """The archive has no room left. Ingest answers 452 or 75, and goes on when there is room."""


class _Objects(Protocol):
    """Bytes by key, whatever keeps them. Raises OSError and obstore's errors; FileNotFoundError for a key that is not there."""

    def write(self, objects: dict[str, bytes]) -> None:
        """Writes objects of one folder, durably, in their order."""
        ...

    def read(self, key: str) -> bytes: ...

    def delete(self, key: str) -> None: ...

    def names(self, folder: str) -> list[str]: ...


class ObjectArchive:
    """See `topology.ports.Archive`. Opening touches nothing: an archive that is away is met by the first call. Thread-safe."""

    def __init__(self, url: str, base: Path) -> None:
        """url: `file:archive/` (relative to `base`, the settings' folder), or s3://, gs://, az://, memory:// with credentials
        where their programs look for them (the environment). Raises ValueError, naming the setting."""
        self.url = url
        self.directory: Path | None = None
        """Where the archive is a directory; for the free space on its disk."""
        if url.startswith("file:"):
            self.directory = base / _file_path(url)
            self._objects: _Objects = _Directory(self.directory)
        elif url.startswith(_REMOTE):
            self._objects = _Remote(_open_store(url))
        else:
            raise ValueError(f"archive.url = {url!r}: expected file:FOLDER, {', '.join(_REMOTE)}")
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

    def release(self, reference: str, owner: str) -> bool:
        """Takes `owner` from those who refer to the bytes; with the last one the bytes go too. Returns whether they are gone now.
        Raises Hold."""
        digest = _digest(reference)
        return digest is not None and self._guard(lambda: self._release(_key(digest), owner))

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

    def _owners(self, key: str) -> list[str]:
        folder, _, name = key.rpartition("/")
        try:
            return [other for other in self._objects.names(folder) if other.startswith(name + ".")]
        except FileNotFoundError:
            return []

    def _delete(self, key: str) -> None:
        try:
            self._objects.delete(key)
        except FileNotFoundError:
            return

    def _read(self, key: str) -> bytes | None:
        try:
            return self._objects.read(key)
        except FileNotFoundError:
            try:
                self._objects.read(_MARK)
            except FileNotFoundError as error:
                raise OSError(f"no file {_MARK!r} in it: is it mounted, and is the setting right?") from error
            return None

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
            raise kind("archive", f"archive.url = {self.url!r} cannot be used: {_words(error)}") from error


def _words(error: Exception) -> str:
    """The first line of an error; obstore's have a dozen."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _file_path(url: str) -> str:
    """The path in file:archive/, file:/srv/archive, file:///srv/archive."""
    path = url.removeprefix("file:")
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise ValueError(f"archive.url = {url!r}: a file on another host; write file:FOLDER or file:///FOLDER")
        path = slash + rest
    if not path:
        raise ValueError(f"archive.url = {url!r}: names no folder; write file:FOLDER")
    return path


def _open_store(url: str) -> ObjectStore:
    """obstore's store. Its own patience is three minutes; a mail server waiting for our answer has less, and asks again itself."""
    if url.startswith("memory://"):
        return MemoryStore()
    try:
        store: ObjectStore = from_url(
            url,
            client_options={"timeout": "30s", "connect_timeout": "5s", "allow_http": True},  # an endpoint of one's own may have no TLS
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
        )
    except (BaseError, ValueError) as error:
        raise ValueError(f"archive.url = {url!r}: {_words(error)}") from error
    return store


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


def _digest(reference: str) -> str | None:
    digest = reference.removeprefix(_SCHEME)
    return digest if len(digest) == 64 and digest.isalnum() and digest != reference else None


class _Remote:
    """A bucket. A store's answer to a write is its word that the bytes are durable."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def write(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            obstore.put(self._store, key, data)

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self._store, key).bytes())

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)

    def names(self, folder: str) -> list[str]:
        return [found["path"].rpartition("/")[2] for page in obstore.list(self._store, folder) for found in page]


class _Directory:
    """A directory. What `write` returned from is on the disk, names included."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: set[Path] = set()

    def write(self, objects: dict[str, bytes]) -> None:
        folder = (self._root / next(iter(objects))).parent
        try:
            self._make(folder)
            for key, data in objects.items():
                _write_file(self._root / key, data)
            _sync_folder(folder)
        except OSError:
            self._durable.clear()  # somebody may have moved the archive away, or back
            raise

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def delete(self, key: str) -> None:
        path = self._root / key
        path.unlink()
        _sync_folder(path.parent)

    def names(self, folder: str) -> list[str]:
        return os.listdir(self._root / folder)

    def _make(self, folder: Path) -> None:
        """Makes the folder and those above it, durably. The folder above is synced even where this one exists: the process that
        made it may not have come to that yet. There are at most 65,536 to remember."""
        if folder in self._durable:
            return
        if folder != self._root:
            self._make(folder.parent)
        elif not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder))
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
        self._durable.add(folder)


def _write_file(path: Path, data: bytes) -> None:
    """A whole file or none: under another name first, synced, then renamed."""
    if not data:
        path.touch(mode=0o600)
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
