"""The account directory of small sites: a TOML file, read at start and again when it changes."""

import logging
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from postroom.settings import SettingsError
from topology.address import key
from topology.ports import Account

log = logging.getLogger("postroom.accounts")


def _compared(address: str) -> str:
    compared = key(address)
    if compared is None:
        raise ValueError(f"{address!r} is no mail address: write name@example.org")
    return compared


def _fingerprint(text: str) -> str:
    bare = text.replace(" ", "").replace(":", "").upper().removeprefix("0X")
    if len(bare) not in (40, 64) or set(bare) - set("0123456789ABCDEF"):
        raise ValueError(f"{text!r} is no OpenPGP fingerprint: write all 40 (version 4) or 64 (version 6) hex digits")
    return bare


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1)
    name: str = ""
    addresses: tuple[Annotated[str, AfterValidator(_compared)], ...] = ()
    active: bool = True
    fingerprints: tuple[Annotated[str, AfterValidator(_fingerprint)], ...] = ()
    require_strong: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: list[_Entry] = Field(default_factory=list)


class TomlDirectory:
    """topology.ports.Directory on a file of [[account]] tables. Raises SettingsError at the start when the file is wrong; a change
    that is wrong is logged, and the accounts stay as they were."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stamp = self._stat()
        self._by_address = read_accounts(file)

    def lookup(self, addresses: Collection[str]) -> Mapping[str, Account]:
        """See `topology.ports.Directory`. Looks at the file's time once a call."""
        self._refresh()
        known = self._by_address
        return {address: known[address] for address in addresses if address in known}

    @property
    def size(self) -> int:
        """How many addresses belong to somebody."""
        return len(self._by_address)

    @property
    def fingerprints(self) -> set[str]:
        """Every fingerprint that an account names."""
        return {fingerprint for account in self._by_address.values() for fingerprint in account.fingerprints}

    def _refresh(self) -> None:
        stamp = self._stat()
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._by_address = read_accounts(self.file)
        except SettingsError as error:
            log.error("the accounts stay as they were: %s", error)

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def read_accounts(file: Path) -> dict[str, Account]:
    """The accounts of a file by address. Raises SettingsError naming the file, the account and the fix."""
    try:
        document = _File(**tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: there is no accounts file; write one, or change [accounts] file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read as TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError("\n".join(f"{file}: {_where(fault)}" for fault in error.errors())) from error
    found: dict[str, Account] = {}
    ids: set[str] = set()
    for entry in document.account:
        if entry.id in ids:
            raise SettingsError(f"{file}: two accounts have the id {entry.id!r}: give each its own")
        ids.add(entry.id)
        account = Account(entry.id, entry.name or entry.id, entry.active, entry.addresses, entry.fingerprints, entry.require_strong)
        for address in entry.addresses:
            if owner := found.get(address):
                raise SettingsError(f"{file}: {address} belongs to two accounts, {owner.id!r} and {entry.id!r}: take it from one")
            found[address] = account
    return found


def _where(fault: object) -> str:
    assert isinstance(fault, dict)
    loc = [str(part) for part in fault["loc"]]
    place = f"account {int(loc[1]) + 1}, {'.'.join(loc[2:])}" if len(loc) > 1 and loc[1].isdigit() else ".".join(loc)
    words = "unknown key" if fault["type"] == "extra_forbidden" else str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {words}"
