"""The public keys that we hold: certificates from their sources, found by fingerprint or key id."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from streams.faults import Hold
from topology.openpgp import lifetime
from topology.openpgp.gnupg import GnupgHome
from topology.openpgp.lifetime import Key
from topology.openpgp.sequoia import Certificate
from topology.openpgp.sources import KeyFolder, KeyringError, KeySource, certificates


class _Held(NamedTuple):
    """One state of the keyring. keys: by fingerprint and by key id."""

    keys: dict[str, tuple[Key, ...]]
    fingerprints: frozenset[str]
    gnupg: GnupgHome


class _Watched:
    """A source, and what it gave when it was last asked."""

    def __init__(self, source: KeySource) -> None:
        self.certificates: tuple[Certificate, ...] = ()
        self._source = source
        self._stamp: object = None

    def renew(self) -> bool:
        """Asks again if the stamp is another; returns whether it was. Raises what the source raises, and then nothing is changed."""
        stamp = self._source.stamp()
        if stamp == self._stamp:
            return False
        self.certificates = tuple(self._source.certificates())
        self._stamp = stamp
        return True


class Keyring:
    """Certificates, each parsed once. Built by `load` or `of`.

    Safe to use from several threads: `reload` swaps everything in one step.
    """

    def __init__(self, gnupg_parent: Path | None = None) -> None:
        """An empty keyring. gnupg_parent: where GnuPG's home is made; the system's folder for temporary files when None."""
        self._gnupg_parent = gnupg_parent
        self._lock = threading.Lock()
        self._watched: list[_Watched] = []
        self._hold(())

    @classmethod
    def load(cls, folder: Path, gnupg_parent: Path | None = None) -> Self:
        """The certificates of all key files of a folder (armoured or binary, one or several a file).

        Raises KeyringError for a folder that cannot be read and for a file that holds anything but public keys.
        """
        keyring = cls(gnupg_parent)
        keyring.watch(KeyFolder(folder))
        keyring.reload()
        return keyring

    @classmethod
    def of(cls, sources: Iterable[tuple[str, bytes]], gnupg_parent: Path | None = None) -> Self:
        """The certificates of named byte strings. The names stand in errors. Raises KeyringError."""
        keyring = cls(gnupg_parent)
        keyring._hold(certificate for name, data in sources for certificate in certificates(name, data))
        return keyring

    def watch(self, source: KeySource) -> None:
        """From the next `reload` on, the certificates of this source are held beside the others."""
        self._watched.append(_Watched(source))

    def reload(self) -> bool:
        """Asks every source whose stamp changed; returns whether one had.

        Raises KeyringError when one cannot be read (perhaps a file is just being written): its keys stay as they were, the others are
        renewed all the same, and the next call tries again. Raises Hold likewise.
        """
        with self._lock:
            changed, faults = False, list[Exception]()
            for watched in self._watched:
                try:
                    changed |= watched.renew()
                except (KeyringError, Hold) as error:
                    faults.append(error)
            if changed:
                self._hold(certificate for watched in self._watched for certificate in watched.certificates)
            for fault in sorted(faults, key=lambda fault: isinstance(fault, KeyringError)):  # what has to wait counts first
                raise fault
            return changed

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

    def _hold(self, found: Iterable[Certificate]) -> None:
        """Swaps all keys; copies of one certificate are merged."""
        merged: dict[str, Certificate] = {}
        for certificate in found:
            known = merged.get(certificate.fingerprint)
            merged[certificate.fingerprint] = known.merged(certificate) if known else certificate
        keys: dict[str, tuple[Key, ...]] = {}
        for fingerprint in sorted(merged):
            for key in lifetime.keys(merged[fingerprint]):
                for name in (key.packet.fingerprint, key.packet.key_id):
                    keys[name] = (*keys.get(name, ()), key)
        self._held = _Held(keys, frozenset(merged), GnupgHome(self._gnupg_parent))
