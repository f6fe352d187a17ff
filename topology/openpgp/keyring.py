"""The public keys that we hold: certificates from files, found by fingerprint or key id."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from topology.openpgp import lifetime, sequoia
from topology.openpgp.gnupg import GnupgHome
from topology.openpgp.lifetime import Key
from topology.openpgp.sequoia import Certificate, SecretKeyError

SUFFIXES = (".asc", ".gpg", ".pgp")
"""Names of key files end so, in any case; other files of the folder are left alone."""

_ARMOR = b"-----BEGIN PGP "
_PUBLIC = b"PUBLIC KEY BLOCK"
_PRIVATE = b"PRIVATE KEY BLOCK"

_Snapshot = tuple[tuple[str, int, int, int], ...]


class KeyringError(Exception):
    """A key file, or the folder, cannot be used. The text names it and says what to do."""


class _Held(NamedTuple):
    """One state of the keyring. keys: by fingerprint and by key id."""

    keys: dict[str, tuple[Key, ...]]
    fingerprints: frozenset[str]
    gnupg: GnupgHome


class Keyring:
    """Certificates, each parsed once. Built by `load` or `of`.

    Safe to read from several threads: `reload` swaps everything in one step.
    """

    def __init__(self, gnupg_parent: Path | None = None) -> None:
        """An empty keyring. gnupg_parent: where GnuPG's home is made; the system's folder for temporary files when None."""
        self._gnupg_parent = gnupg_parent
        self._folder: Path | None = None
        self._seen: _Snapshot = ()
        self._hold({})

    @classmethod
    def load(cls, folder: Path, gnupg_parent: Path | None = None) -> Self:
        """The certificates of all key files of a folder (armoured or binary, one or several a file).

        Raises KeyringError for a folder that cannot be read and for a file that holds anything but public keys.
        """
        keyring = cls(gnupg_parent)
        keyring._folder = folder
        keyring._seen = _snapshot(folder)
        keyring._hold(_read(_files(folder, keyring._seen)))
        return keyring

    @classmethod
    def of(cls, sources: Iterable[tuple[str, bytes]], gnupg_parent: Path | None = None) -> Self:
        """The certificates of named byte strings (a table's rows). The names stand in errors. Raises KeyringError."""
        keyring = cls(gnupg_parent)
        keyring._hold(_read(sources))
        return keyring

    def reload(self) -> bool:
        """Reads the folder again if a name, time or size of a key file changed; returns whether it did. Costs one stat a file.

        Raises KeyringError when it cannot be read (perhaps a file is just being written): the keys stay as they were, and the next
        call tries again.
        """
        if self._folder is None:
            return False
        seen = _snapshot(self._folder)
        if seen == self._seen:
            return False
        self._hold(_read(_files(self._folder, seen)))
        self._seen = seen
        return True

    def fingerprints(self) -> frozenset[str]:
        """The fingerprints of all certificates (of their primary keys), upper-case hex."""
        return self._held.fingerprints

    def find(self, name: str) -> tuple[str, ...]:
        """The fingerprints of the certificates that hold a key of that fingerprint or 64-bit key id, primary key or subkey; hex in
        any case. Several only where certificates share a key, or two key ids collide."""
        return tuple(key.certificate.fingerprint for key in self._held.keys.get(name.upper(), ()))

    def named(self, issuer: str | None, issuer_id: str | None) -> tuple[Key, ...]:
        """The keys that a signature names: by its fingerprint, and by the key id only where it gives no fingerprint."""
        return self._held.keys.get(issuer or issuer_id or "", ())

    @property
    def gnupg(self) -> GnupgHome:
        """The GnuPG home for these keys; nothing is done before it is asked."""
        return self._held.gnupg

    def _hold(self, certificates: dict[str, Certificate]) -> None:
        keys: dict[str, tuple[Key, ...]] = {}
        for fingerprint in sorted(certificates):
            for key in lifetime.keys(certificates[fingerprint]):
                for name in (key.packet.fingerprint, key.packet.key_id):
                    keys[name] = (*keys.get(name, ()), key)
        self._held = _Held(keys, frozenset(certificates), GnupgHome(self._gnupg_parent))


def _snapshot(folder: Path) -> _Snapshot:
    try:
        with os.scandir(folder) as entries:
            chosen = [(entry.name, entry.stat()) for entry in entries if entry.name.lower().endswith(SUFFIXES) and entry.is_file()]
    except OSError as error:
        raise KeyringError(f"{folder}: the folder of public keys cannot be read ({error.strerror}); make it, or name another") from error
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in chosen))


def _files(folder: Path, snapshot: _Snapshot) -> Iterable[tuple[str, bytes]]:
    for name, *_ in snapshot:
        path = folder / name
        try:
            yield str(path), path.read_bytes()
        except OSError as error:
            raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error


def _read(sources: Iterable[tuple[str, bytes]]) -> dict[str, Certificate]:
    certificates: dict[str, Certificate] = {}
    for name, data in sources:
        for certificate in _certificates(name, data):
            known = certificates.get(certificate.fingerprint)
            certificates[certificate.fingerprint] = known.merged(certificate) if known else certificate
    return certificates


def _certificates(name: str, data: bytes) -> Iterable[Certificate]:
    """All certificates of one file. Sequoia reads one armoured block only, and people put several into a file."""
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
