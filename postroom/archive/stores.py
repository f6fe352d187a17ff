"""Where the archive's objects are: a directory, or a bucket."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import MemoryStore, ObjectStore, from_url

from streams.disk import sync

REMOTE = ("s3://", "s3a://", "gs://", "az://", "azure://", "abfs://", "abfss://", "memory://")
"""How the URLs of object stores begin."""


class Entry(NamedTuple):
    """An object. name: its key. size: octets. modified: ms since 1970."""

    name: str
    size: int
    modified: int


class Store(Protocol):
    """Bytes by key, whatever keeps them. Raises OSError and obstore's errors; FileNotFoundError for a key that is not there."""

    def write(self, objects: dict[str, bytes]) -> None:
        """Writes objects of one folder, durably, in their order."""
        ...

    def read(self, key: str) -> bytes: ...

    def delete(self, key: str) -> None: ...

    def entries(self, folder: str) -> Iterator[Entry]:
        """What there is in a folder, and in all below it; "" for the whole store. Nothing where there is no such folder."""
        ...


def open_store(url: str) -> ObjectStore:
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
        raise ValueError(f"archive.url = {url!r}: {words(error)}") from error
    return store


def file_path(url: str) -> str:
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


def words(error: Exception) -> str:
    """The first line of an error; obstore's have a dozen."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


class Remote:
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

    def entries(self, folder: str) -> Iterator[Entry]:
        for page in obstore.list(self._store, folder or None):
            for found in page:
                yield Entry(found["path"], found["size"], int(found["last_modified"].timestamp() * 1000))


class Directory:
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
            sync(folder)
        except OSError:
            self._durable.clear()  # somebody may have moved the archive away, or back
            raise

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def delete(self, key: str) -> None:
        path = self._root / key
        path.unlink()
        sync(path.parent)

    def entries(self, folder: str) -> Iterator[Entry]:
        try:
            found = sorted(os.scandir(self._root / folder), key=lambda one: one.name)
        except FileNotFoundError:
            return
        for one in found:
            name = f"{folder}/{one.name}" if folder else one.name
            if one.is_dir(follow_symlinks=False):
                yield from self.entries(name)
            else:
                with suppress(FileNotFoundError):  # gone since
                    state = one.stat()
                    yield Entry(name, state.st_size, state.st_mtime_ns // 1_000_000)

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
        sync(folder.parent)
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
