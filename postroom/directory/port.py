"""What an account directory is to the installation, whatever is behind it."""

from collections.abc import Iterator
from typing import Protocol

from topology.ports import Account, Directory

Rows = list[tuple[str, bytes]]
"""Public keys, armoured or binary, each with the name that it has in errors."""


class SiteDirectory(Directory, Protocol):
    """The accounts of an installation: what the chain asks, and what people ask beside. All methods raise Hold when the directory is
    away, SettingsError and streams.errors.Fatal when the settings are wrong about it."""

    @property
    def holds_keys(self) -> bool:
        """Whether there may be public keys in it, too."""
        ...

    @property
    def keys_version(self) -> object:
        """What the last answer said of those keys: another value where they are others; None where it said nothing."""
        ...

    def keys(self) -> Rows:
        """Those keys."""
        ...

    def look(self) -> str:
        """Looks whether it can be used, and gives it in a line: where it is, how many there are. No secrets."""
        ...

    def keyless(self) -> set[str]:
        """The fingerprints that accounts name and whose keys the directory does not hold itself."""
        ...

    def accounts(self) -> Iterator[Account]:
        """All accounts, by id."""
        ...

    def account(self, id_: str) -> Account | None:
        """The account of that id."""
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...
