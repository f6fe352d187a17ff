"""Rows of an account query as accounts. The query may be the user's, onto tables that never heard of us, so nothing about it is
believed before it is looked at.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from psycopg2.extensions import BOOLEAN

from postroom.directory import entries
from postroom.directory.port import Rows
from topology.address import key
from topology.ports import Account

COLUMNS = {
    "address": "text, one of those asked for",
    "id": "of the account; text, a number or a UUID",
    "name": "text",
    "active": "boolean",
    "fingerprints": "text[], or text with commas",
    "require_strong": "boolean",
    "keys_version": "anything that changes when what keys_query gives does",
}
"""What an account query gives, in any order. The first two are needed."""
_NEEDED = ("address", "id")


class ShapeError(ValueError):
    """The query gives something else than accounts, whomever it is asked about."""


class RowError(ValueError):
    """What the database says of one account cannot be; the text names it and what to do."""


class Found(NamedTuple):
    """The accounts by address as asked for, and the version of the keys where rows gave one."""

    accounts: dict[str, Account]
    keys_version: object


def read(description: Sequence[Any] | None, rows: Iterable[Sequence[Any]], asked: Collection[str]) -> Found:
    """What a query found. description: the cursor's. Raises ShapeError, RowError."""
    places = _places(description)
    found: dict[str, Account] = {}
    version: object = None
    for row in rows:
        known = {column: row[place] for column, place in places.items()}
        version = known.get("keys_version")
        address = _asked_for(known["address"], asked)
        if address is not None:
            account = _account(address, known)
            found[address] = _merged(address, found[address], account) if address in found else account
    return Found(found, version)


def _places(description: Sequence[Any] | None) -> dict[str, int]:
    """Where each column stands."""
    if description is None:
        raise ShapeError("it gives no rows; write a SELECT")
    places = {column.name: place for place, column in enumerate(description)}
    if missing := [column for column in _NEEDED if column not in places]:
        raise ShapeError(f"it gives no column {' and no column '.join(missing)}; name it with AS")
    if unknown := sorted(places.keys() - COLUMNS.keys()):
        raise ShapeError(f"it gives the column {unknown[0]}, which means nothing here; the columns are {', '.join(COLUMNS)}")
    for column in ("active", "require_strong"):
        if column in places and description[places[column]].type_code not in BOOLEAN.values:
            raise ShapeError(f"its column {column} is no boolean; compare or cast it")
    return places


def _asked_for(written: object, asked: Collection[str]) -> str | None:
    """The address that a row is about, or None when nobody asked about that one."""
    if not isinstance(written, str):
        raise ShapeError("its column address is no text, or null")
    address = written if written in asked else key(written)
    return address if address in asked else None


def _account(address: str, known: Mapping[str, Any]) -> Account:
    id_ = known["id"]
    if id_ is None or id_ == "":
        raise RowError(f"{address}: its account has no id")
    return Account(
        str(id_),
        str(known.get("name") or id_),
        # A null is not true: who may be locked out stays locked out.
        active=bool(known.get("active", True)),
        addresses=(address,),
        fingerprints=_fingerprints(address, known.get("fingerprints")),
        require_strong=bool(known.get("require_strong")),
    )


def _fingerprints(address: str, written: object) -> tuple[str, ...]:
    parts = written.split(",") if isinstance(written, str) else written or []
    if not isinstance(parts, list) or not all(isinstance(part, str | None) for part in parts):
        raise ShapeError("its column fingerprints is neither text nor text[]; cast it")
    try:
        return tuple(entries.fingerprint(part) for part in parts if part and not part.isspace())
    except ValueError as error:
        raise RowError(f"{address}: {error}") from None


def _merged(address: str, one: Account, other: Account) -> Account:
    """Two rows about one account, from a query that joins its keys: all of those, and the stricter word on the rest."""
    if one.id != other.id:
        raise RowError(f"{address} belongs to two accounts, {one.id!r} and {other.id!r}: take it from one")
    return replace(
        one,
        active=one.active and other.active,
        fingerprints=tuple(dict.fromkeys(one.fingerprints + other.fingerprints)),
        require_strong=one.require_strong or other.require_strong,
    )


def read_keys(description: Sequence[Any] | None, rows: Iterable[Sequence[Any]]) -> Rows:
    """Public keys with a name each. description: the cursor's; columns: key (armoured text, or bytea), and perhaps id, the account's.
    Raises ShapeError."""
    places = {column.name: place for place, column in enumerate(description or ())}
    if "key" not in places or places.keys() - {"key", "id"}:
        raise ShapeError("it is to give the column key, with public keys as text or bytea, and may give the account's id")
    found = []
    for number, row in enumerate(rows, 1):
        key = row[places["key"]]
        name = f"a key of account {row[places['id']]}" if "id" in places else f"row {number} of [accounts] keys_query"
        if isinstance(key, str | memoryview):
            found.append((name, key.encode() if isinstance(key, str) else bytes(key)))
        elif key is not None:
            raise ShapeError("its column key is neither text nor bytea; cast it")
    return found
