"""The account directory on PostgreSQL: one query a batch, onto our own tables or by one that the user wrote onto theirs."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, NoReturn, TypeVar

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import connection, encodings, parse_dsn

from handlers.connection import CLASHES
from postroom.directory import migrate, rows
from postroom.directory.pool import PART, Pool
from postroom.directory.port import Rows
from postroom.directory.store import Store
from postroom.settings import SettingsError
from streams.errors import Fatal
from streams.faults import Hold
from topology.ports import Account

Found = TypeVar("Found")

_LOOKUP = """
    SELECT address, id, name, active, require_strong, keys_version,
        ARRAY(SELECT fingerprint FROM postroom_key WHERE postroom_key.account = id ORDER BY added, fingerprint) AS fingerprints
    FROM postroom_address JOIN postroom_account ON id = account CROSS JOIN postroom_directory
    WHERE address = ANY(%(addresses)s)
"""
_KEYS = "SELECT account AS id, armored AS key FROM postroom_key WHERE armored IS NOT NULL ORDER BY added, fingerprint, account"

_DATA = (
    errorcodes.CLASS_CARDINALITY_VIOLATION,
    errorcodes.CLASS_DATA_EXCEPTION,
    errorcodes.CLASS_EXTERNAL_ROUTINE_EXCEPTION,
    errorcodes.CLASS_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
    errorcodes.CLASS_PL_PGSQL_ERROR,
    errorcodes.CLASS_SQL_ROUTINE_EXCEPTION,
)
"""Errors that a query raises because of what it is asked about; others it raises whomever it is asked about."""


class PostgresDirectory:
    """postroom.directory.port.SiteDirectory on PostgreSQL. Nothing is connected before it is asked. url: without
    `handlers.connection.fault`. timeout: seconds a query may take. query, keys_query: onto the user's tables (docs/accounts.md);
    without a query our own are used, and must be there. Safe to use from several threads. Nothing raised holds a password.

    Beside Hold, SettingsError and Fatal, `lookup` raises ValueError when it is one account about which the database says what cannot be.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, query: str | None = None, keys_query: str | None = None) -> None:
        self.where = _shown(url)
        self.keys_version: object = None
        """What the last answer said of the keys, None where it said nothing."""
        self._ours = query is None
        self._setting = "[accounts] postgresql" if self._ours else "[accounts] query"
        self._query = query or _LOOKUP
        self._keys_query = _KEYS if self._ours else keys_query
        self._url = url
        self._pool = Pool(url, timeout, self._opened)

    @property
    def holds_keys(self) -> bool:
        """Whether `keys` is to be asked."""
        return self._keys_query is not None

    def lookup(self, addresses: Collection[str]) -> Mapping[str, Account]:
        """See `topology.ports.Directory`."""

        def ask(db: connection) -> rows.Found:
            codec = encodings.get(db.encoding, "ascii")
            asked = {address for address in addresses if _may_hold(codec, address)}
            with db.cursor() as cursor:
                cursor.execute(self._query, {"addresses": list(asked)})
                return rows.read(cursor.description, cursor.fetchall() if cursor.description else (), asked)

        found = self._run(ask, self._setting)
        if found.accounts:
            self.keys_version = found.keys_version
        return found.accounts

    def keys(self) -> Rows:
        """See SiteDirectory."""
        setting = self._setting if self._ours else "[accounts] keys_query"

        def ask(db: connection) -> Rows:
            with db.cursor() as cursor:
                cursor.execute(self._keys_query or "")
                return rows.read_keys(cursor.description, cursor.fetchall() if cursor.description else ())

        return self._run(ask, setting)

    def look(self) -> str:
        """See SiteDirectory. Asks the query about nobody."""
        self.lookup(())
        if not self._ours:
            return f"{self.where}, by [accounts] query"
        accounts, addresses, self.keys_version = self._one("""
            SELECT (SELECT count(*) FROM postroom_account), (SELECT count(*) FROM postroom_address), keys_version FROM postroom_directory
        """)
        return f"{self.where}: {accounts} accounts, {addresses} addresses"

    def keyless(self) -> set[str]:
        """See SiteDirectory. Of the user's tables nothing is known."""
        if not self._ours:
            return set()
        (found,) = self._one("SELECT ARRAY(SELECT DISTINCT fingerprint FROM postroom_key WHERE armored IS NULL)")
        return set(found)

    def accounts(self) -> Iterator[Account]:
        """See SiteDirectory."""
        return self.store.accounts()

    def account(self, id_: str) -> Account | None:
        """See SiteDirectory."""
        return self.store.account(id_)

    @cached_property
    def store(self) -> Store:
        """What changes and lists our own tables. Raises SettingsError with tables of the user's."""
        if not self._ours:
            raise SettingsError(
                "[accounts] query: the accounts are in your own tables: look and change there; `accounts show ADDRESS` asks the query"
            )
        return Store(self._url)

    def close(self) -> None:
        """Closes connections."""
        self._pool.close()
        if "store" in self.__dict__:
            self.store.close()

    def _opened(self, db: connection) -> None:
        db.set_session(readonly=True)  # whatever the query calls, a look-up changes nothing
        with db.cursor() as cursor:
            # Tables of accounts stay in memory, where reading by the index costs no more than in order: measured, 500 senders among
            # 100,000 accounts take 7 ms so, and 27 ms with the server's default, which prefers to read all of them.
            cursor.execute("SET random_page_cost = 1.1")
        if self._ours:
            migrate.check(db)

    def _one(self, sql: str) -> tuple[Any, ...]:
        def ask(db: connection) -> tuple[Any, ...]:
            with db.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone() or ()

        return self._run(ask, self._setting)

    def _run(self, ask: Callable[[connection], Found], setting: str) -> Found:
        try:
            return self._pool.run(ask)
        except rows.ShapeError as error:
            raise Fatal(f"{setting}: {error}") from None
        except psycopg2.Error as error:
            self._raise(error, setting)

    def _raise(self, error: psycopg2.Error, setting: str) -> NoReturn:
        words = f"{setting}: {self._pool.words(error)}"
        if error.pgcode in CLASHES:
            raise Hold(PART, words) from None
        if error.pgcode is None or error.pgcode[:2] in _DATA:
            raise rows.RowError(words) from None
        raise Fatal(words) from None


def _may_hold(codec: str, address: str) -> bool:
    """Whether the database has letters for an address; one for which it has none belongs to nobody there."""
    if "\0" in address:  # text in PostgreSQL has none
        return False
    try:
        return address.isascii() or bool(address.encode(codec))
    except UnicodeEncodeError:
        return False


def _shown(url: str) -> str:
    """The database's address for people, without secrets."""
    parts = parse_dsn(url)
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
