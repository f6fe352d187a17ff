"""Public keys out of the database, as a source of the keyring."""

import logging
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from postroom.directory.port import Rows
from topology.openpgp.sequoia import Certificate
from topology.openpgp.sources import KeyringError, certificates

log = logging.getLogger("postroom.accounts")

ASK_EVERY = 10.0
"""Seconds between looks at keys of which nobody says that they changed."""


class DatabaseKeys:
    """topology.openpgp.KeySource. fetch: all keys; may raise Hold. version: what the last account query said of them, without asking;
    None where it says nothing: then they are fetched every ASK_EVERY seconds and compared. A row that is no public key is left out, and
    logged as an error. Each certificate is parsed once."""

    def __init__(self, fetch: Callable[[], Rows], version: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._version = version
        self._clock = clock
        self._fetched: Rows | None = None
        self._fetched_at = 0.0
        self._parsed: dict[bytes, tuple[Certificate, ...]] = {}

    def stamp(self) -> object:
        """See KeySource."""
        version = self._version()
        if version is not None:
            self._fetched = None
            return version
        if self._fetched is None or self._clock() - self._fetched_at >= ASK_EVERY:
            self._fetched, self._fetched_at = self._fetch(), self._clock()
        return sha256(b"".join(sorted(_digest(data) for _, data in self._fetched))).digest()

    def certificates(self) -> Iterator[Certificate]:
        """See KeySource."""
        parsed = {}
        for name, data in self._fetched if self._fetched is not None else self._fetch():
            digest = _digest(data)
            try:
                parsed[digest] = self._parsed.get(digest) or tuple(certificates(name, data))
            except KeyringError as error:
                log.error("a key in the database is left out: %s", error)
        self._parsed = parsed
        for found in parsed.values():
            yield from found


def _digest(data: bytes) -> bytes:
    return sha256(data).digest()
