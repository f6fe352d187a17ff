"""Accounts as people write them: a TOML file of [[account]] tables, and the forms in which addresses and fingerprints are kept."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from postroom.settings import SettingsError
from topology.address import key
from topology.ports import Account

_HEX = frozenset("0123456789ABCDEF")


def address(written: str) -> str:
    """An address in the form in which it is compared. Raises ValueError."""
    compared = key(written)
    if compared is None or "\0" in compared:
        raise ValueError(f"{written!r} is no mail address: write name@example.org")
    return compared


def fingerprint(written: str) -> str:
    """An OpenPGP fingerprint in upper-case hex, from any way of writing it. Raises ValueError."""
    bare = "".join(written.split()).replace(":", "").upper().removeprefix("0X")
    if len(bare) not in (40, 64) or set(bare) - _HEX:
        raise ValueError(f"{written!r} is no OpenPGP fingerprint: write all 40 (version 4) or 64 (version 6) hex digits")
    return bare


def text(words: str) -> str:
    """An id or a name: anything that a database can keep. Raises ValueError."""
    if "\0" in words:
        raise ValueError(f"{words!r} holds a NUL character: take it out")
    return words


Text = Annotated[str, AfterValidator(text)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[Text, Field(min_length=1)]
    name: Text = ""
    addresses: tuple[Annotated[str, AfterValidator(address)], ...] = ()
    active: bool = True
    fingerprints: tuple[Annotated[str, AfterValidator(fingerprint)], ...] = ()
    require_strong: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account: list[_Entry] = Field(default_factory=list)


def read_accounts(file: Path) -> list[Account]:
    """The accounts of a file. Raises SettingsError naming the file, the account and the fix: a fault a line."""
    try:
        document = _File(**tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: there is no accounts file; write one, or change [accounts] file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read as TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError("\n".join(f"{file}: {_where(fault)}" for fault in error.errors())) from error
    accounts = [account_of(**dict(entry)) for entry in document.account]
    ids: set[str] = set()
    for account in accounts:
        if account.id in ids:
            raise SettingsError(f"{file}: two accounts have the id {account.id!r}: give each its own")
        ids.add(account.id)
    try:
        by_address(accounts)
    except ValueError as error:
        raise SettingsError(f"{file}: {error}") from error
    return accounts


def account_of(id: str, name: str = "", addresses: Iterable[str] = (), fingerprints: Iterable[str] = (), **known: bool) -> Account:  # noqa: A002
    """An account with a name, and with nothing twice. known: active, require_strong."""
    return Account(id, name or id, addresses=tuple(dict.fromkeys(addresses)), fingerprints=tuple(dict.fromkeys(fingerprints)), **known)


def by_address(accounts: Iterable[Account]) -> dict[str, Account]:
    """The accounts by address. Raises ValueError for an address of two."""
    found: dict[str, Account] = {}
    for account in accounts:
        for one in account.addresses:
            if (owner := found.setdefault(one, account)) is not account:
                raise ValueError(f"{one} belongs to two accounts, {owner.id!r} and {account.id!r}: take it from one")
    return found


def _where(fault: object) -> str:
    assert isinstance(fault, dict)
    loc = [str(part) for part in fault["loc"]]
    place = f"account {int(loc[1]) + 1}, {'.'.join(loc[2:])}" if len(loc) > 1 and loc[1].isdigit() else ".".join(loc)
    if fault["type"] in ("list_type", "tuple_type"):
        example = {"addresses": '["ada@example.org"]', "fingerprints": '["…"]'}.get(
            loc[-1], "a table [[account]], in two brackets, for each"
        )
        return f"{place}: this is a list: write {example}"
    words = "unknown key" if fault["type"] == "extra_forbidden" else str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {words}"
