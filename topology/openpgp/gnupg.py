"""The border to GnuPG, through python-gnupg: a process for what Sequoia will not judge, or would judge by the clock.

One home of our own, which no other program uses; nothing is fetched, no trust is computed, and no agent is needed. Certificates are
imported when they are first asked about.
"""

import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gnupg

from streams.cores import anywhere
from topology.openpgp.sequoia import Certificate

# It logs each refused signature without saying of which mail; what matters is raised or answered here.
logging.getLogger("gnupg").setLevel(logging.CRITICAL)

TIMEOUT = 10.0
"""Seconds after which a gpg process is killed. It takes 10 ms for 4 KB, and a third of a second for 10 MiB."""

# GnuPG judges SHA-1 without being told to. MD5 stays refused, here as in packets.HASHES.
_OPTIONS = [
    "--no-options",
    "--no-autostart",  # an agent keeps secrets, and here are none
    "--no-auto-key-retrieve",
    "--no-auto-key-locate",
    "--disable-dirmngr",
    "--no-auto-check-trustdb",
    "--trust-model=always",
]


class GnupgError(Exception):
    """GnuPG could not be run, or did not end in time. The text says what to do."""


class Answer(NamedTuple):
    """What GnuPG said. certificate, key: fingerprints, upper-case hex, or None where it found no key."""

    said: Literal["good", "bad", "expired", "revoked", "refused"]
    certificate: str | None
    key: str | None


class _Gpg(gnupg.GPG):  # type: ignore[misc]  # python-gnupg has no types
    """python-gnupg, with an end to waiting for the process, which need not keep to our core."""

    def _open_subprocess(self, *arguments: Any) -> Any:
        with anywhere():
            return super()._open_subprocess(*arguments)

    def _collect_output(self, process: Any, result: Any, writer: Any = None, stdin: Any = None) -> Any:
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            return super()._collect_output(process, result, writer, stdin)
        finally:
            timer.cancel()


class GnupgHome:
    """A GnuPG home for the certificates of one state of a keyring. Made on first use below `parent` (the system's folder for
    temporary files when None), with mode 0700, and removed with this object. Safe to use from several threads, one at a time."""

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._gpg: Any = None
        self._imported: set[str] = set()

    def check(self, document: bytes, packet: bytes, at: int, candidates: Sequence[Certificate]) -> Answer:
        """Judges one detached signature over the document as of a time (seconds since 1970). Blocks for a process, and for two
        when a candidate is asked about for the first time. Raises GnupgError."""
        with self._lock:
            try:
                self._prepare(candidates)
                return self._verify(document, packet, at)
            except (OSError, ValueError) as error:
                raise GnupgError(
                    f"gpg cannot be run ({error}); install GnuPG 2.2 or later, and see that its folder can be written"
                ) from error

    def _prepare(self, candidates: Sequence[Certificate]) -> None:
        if self._folder is None or not Path(self._folder.name, "pubring.kbx").exists():
            self._begin()
        new = [candidate for candidate in candidates if candidate.fingerprint not in self._imported]
        if new:
            result = self._gpg.import_keys(b"".join(candidate.binary() for candidate in new))
            _ended(result)
            self._imported.update(candidate.fingerprint for candidate in new)

    def _begin(self) -> None:
        """Makes the folder: for the first time, or again where something tidied it away, as it is done to old temporary files."""
        self._folder = tempfile.TemporaryDirectory(prefix="postroom-gnupg-", dir=self._parent, ignore_cleanup_errors=True)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        self._gpg = _Gpg(gnupghome=self._folder.name, options=_OPTIONS, env=environment)
        self._imported = set()

    def _verify(self, document: bytes, packet: bytes, at: int) -> Answer:
        assert self._folder is not None
        # From a file and not through a pipe: gpg may answer without reading all of it.
        path = Path(self._folder.name, "document")
        path.write_bytes(document)
        # The mark at the end stops the clock there.
        when = f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S}!"
        try:
            result = self._gpg.verify_file(BytesIO(packet), str(path), extra_args=["--faked-system-time", when])
        finally:
            path.unlink()
        _ended(result)
        said = _said(result)
        if said != "bad" and int(result.sig_timestamp or 0) != at:
            said = "refused"  # GnuPG read another time than we did
        return Answer(said, result.pubkey_fingerprint, result.fingerprint)


def _ended(result: Any) -> None:
    if result.returncode is None or result.returncode < 0:
        raise GnupgError(f"gpg did not end within {TIMEOUT:.0f} s, or was killed; see why it hangs, and replay the mails that it missed")


def _said(result: Any) -> Literal["good", "bad", "expired", "revoked", "refused"]:
    """python-gnupg's result as one word. GnuPG writes VALIDSIG, with the primary key, only for a signature that fits."""
    if result.status == "signature bad":
        return "bad"
    if not result.pubkey_fingerprint:
        return "refused"
    if result.key_status == "signing key was revoked":
        return "revoked"
    if result.key_status == "signing key has expired":
        return "expired"
    return "good" if result.valid and result.returncode == 0 else "refused"
