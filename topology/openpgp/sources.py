"""Where public keys come from: the files of a folder, or whatever else (`KeySource`) can give certificates and say when they changed."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from topology.openpgp import sequoia
from topology.openpgp.sequoia import Certificate, SecretKeyError

SUFFIXES = (".asc", ".gpg", ".pgp")
"""Names of key files end so, in any case; other files of the folder are left alone."""

_ARMOR = b"-----BEGIN PGP "
_PUBLIC = b"PUBLIC KEY BLOCK"
_PRIVATE = b"PRIVATE KEY BLOCK"

_Snapshot = tuple[tuple[str, int, int, int], ...]


class KeyringError(Exception):
    """A key, or where it should come from, cannot be used. The text names it and says what to do."""


class KeySource(Protocol):
    """Some certificates that may change. Both methods raise KeyringError, and Hold where a whole part is away."""

    def stamp(self) -> object:
        """A value that is another one when the certificates are others. Asked once a batch, so it is to be cheap."""
        ...

    def certificates(self) -> Iterable[Certificate]:
        """All of them; they are at least as new as the last stamp."""
        ...


class KeyFolder:
    """The key files of a folder: armoured or binary, one certificate or several a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stamp(self) -> _Snapshot:
        """Names, times and sizes; costs a stat a file."""
        try:
            with os.scandir(self._folder) as entries:
                chosen = [(entry.name, entry.stat()) for entry in entries if entry.name.lower().endswith(SUFFIXES) and entry.is_file()]
        except OSError as error:
            raise KeyringError(
                f"{self._folder}: the folder of public keys cannot be read ({error.strerror}); make it, or name another"
            ) from error
        return tuple(sorted((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in chosen))

    def certificates(self) -> Iterator[Certificate]:
        """Reads every file. Raises KeyringError also for one that holds anything but public keys."""
        for name, *_ in self.stamp():
            path = self._folder / name
            try:
                data = path.read_bytes()
            except OSError as error:
                raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error
            yield from certificates(str(path), data)


def certificates(name: str, data: bytes) -> Iterator[Certificate]:
    """All certificates of one file. name: stands in errors. Raises KeyringError for anything but public keys."""
    # Sequoia reads one armoured block only, and people put several into a file.
    for block in [_ARMOR + block for block in data.split(_ARMOR)[1:]] or [data]:
        kind = block[len(_ARMOR) :].split(b"-----", 1)[0] if block.startswith(_ARMOR) else _PUBLIC
        if kind == _PRIVATE:
            raise _secret(name)
        if kind != _PUBLIC:
            what = kind[:40].decode("ascii", "replace")
            raise KeyringError(f"{name}: holds no public key but a PGP {what}; put only public keys there (gpg --export --armor)")
        try:
            found = sequoia.certificates(block)
        except SecretKeyError:
            raise _secret(name) from None
        except ValueError as error:
            raise KeyringError(f"{name}: is no OpenPGP public key ({error}); export it anew with gpg --export --armor") from None
        if not found:
            raise KeyringError(f"{name}: holds no OpenPGP public key; export it anew with gpg --export --armor")
        yield from found


def _secret(name: str) -> KeyringError:
    return KeyringError(f"{name}: holds a secret key, which must not lie here; remove it, and export the public key (gpg --export --armor)")
