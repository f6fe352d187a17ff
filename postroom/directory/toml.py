"""The account directory of small sites: a TOML file, read at start and again when it changes."""

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from postroom.directory.entries import by_address, read_accounts
from postroom.directory.port import Rows
from postroom.settings import SettingsError
from topology.ports import Account

log = logging.getLogger("postroom.accounts")


class TomlDirectory:
    """postroom.directory.port.SiteDirectory on a file of [[account]] tables. Raises SettingsError at the start when the file is wrong; a
    change that is wrong is logged, and the accounts stay as they were."""

    holds_keys = False
    keys_version = None

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stamp = self._stat()
        self._hold(read_accounts(file))

    def lookup(self, addresses: Collection[str]) -> Mapping[str, Account]:
        """See `topology.ports.Directory`. Looks at the file's time once a call."""
        self._refresh()
        known = self._by_address
        return {address: known[address] for address in addresses if address in known}

    def keys(self) -> Rows:
        """See SiteDirectory."""
        return []

    def look(self) -> str:
        """See SiteDirectory."""
        self._refresh()
        return f"{self.file}: {len(self._accounts)} accounts, {len(self._by_address)} addresses"

    def keyless(self) -> set[str]:
        """See SiteDirectory."""
        return {fingerprint for account in self._accounts for fingerprint in account.fingerprints}

    def accounts(self) -> Iterator[Account]:
        """See SiteDirectory."""
        return iter(sorted(self._accounts, key=lambda account: account.id))

    def account(self, id_: str) -> Account | None:
        """See SiteDirectory."""
        return next((account for account in self._accounts if account.id == id_), None)

    def close(self) -> None:
        """See SiteDirectory."""

    def _hold(self, accounts: list[Account]) -> None:
        self._accounts = accounts
        self._by_address = by_address(accounts)

    def _refresh(self) -> None:
        stamp = self._stat()
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._hold(read_accounts(self.file))
        except SettingsError as error:
            log.error("the accounts stay as they were: %s", error)

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
