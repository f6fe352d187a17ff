"""Our own tables of accounts, as `postroom accounts` lists and changes them. Each change is one transaction: all of it, or nothing."""

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeVar

import psycopg2
from psycopg2.extensions import connection, cursor

from postroom.directory import migrate
from postroom.directory.pool import Pool
from streams.errors import Fatal
from topology.openpgp.sequoia import Certificate
from topology.openpgp.sources import certificates
from topology.ports import Account

Found = TypeVar("Found")

_PATIENCE = 300.0
"""Seconds that a statement may take: people wait for these, no mail does, and an import can be large."""
_PAGE = 1000

_SELECT = """
    SELECT id, name, active,
        ARRAY(SELECT address FROM postroom_address WHERE account = id ORDER BY address),
        ARRAY(SELECT fingerprint FROM postroom_key WHERE account = id ORDER BY added, fingerprint),
        require_strong
    FROM postroom_account
"""
_PUT = """
    INSERT INTO postroom_account (id, name, active, require_strong)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::boolean[])
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, active = excluded.active, require_strong = excluded.require_strong
"""
_PUT_ADDRESSES = "INSERT INTO postroom_address (address, account) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING"
_TAKEN = """
    SELECT wanted.address, postroom_address.account FROM unnest(%s::text[], %s::text[]) AS wanted (address, account)
    JOIN postroom_address ON postroom_address.address = wanted.address AND postroom_address.account <> wanted.account ORDER BY 1
"""
_PUT_FINGERPRINTS = "INSERT INTO postroom_key (account, fingerprint) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING"
_PUT_KEY = """
    INSERT INTO postroom_key (account, fingerprint, armored) VALUES (%s, %s, %s)
    ON CONFLICT (account, fingerprint) DO UPDATE SET armored = excluded.armored
"""


class Refused(Exception):
    """A change that cannot be; nothing was changed. The text says why, a line a reason."""


class Store:
    """The tables of one database, made or brought up to date at the first use. All methods raise Hold when the database is away, Newer
    when a later program made the tables, Fatal when it does not let us."""

    def __init__(self, url: str) -> None:
        self.migrated: tuple[int, int] | None = None
        """The versions of the tables before and after, once they were looked at."""
        self._pool = Pool(url, _PATIENCE, self._migrate)

    def migrate(self) -> tuple[int, int]:
        """Brings the tables up to date; the versions before and after."""
        self._run(lambda _db: None)
        assert self.migrated
        return self.migrated

    def accounts(self) -> Iterator[Account]:
        """All accounts by id, read a page at a time."""
        last = ""
        while page := self._select("WHERE id > %s ORDER BY id LIMIT %s", last, _PAGE):
            yield from page
            last = page[-1].id

    def account(self, id_: str) -> Account | None:
        """The account of that id."""
        return next(iter(self._select("WHERE id = %s", id_)), None)

    def add(self, account: Account) -> None:
        """A new account. Raises Refused when the id is there already, or an address is somebody's."""

        def work(at: cursor) -> None:
            at.execute("INSERT INTO postroom_account (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (account.id, account.name))
            if at.rowcount == 0:
                raise Refused(f"there is an account {account.id!r} already; `postroom accounts show` shows it, and `import` changes it")
            _put(at, [account])

        self._change(work)

    def put(self, accounts: Sequence[Account]) -> int:
        """Makes these accounts what is given here, whether they were there or not; how many are new. Keys that the database holds stay
        with their accounts, and so do accounts that are not named. Raises Refused when an address is somebody else's."""

        def work(at: cursor) -> int:
            at.execute("SELECT count(*) FROM postroom_account WHERE id = ANY(%s)", ([account.id for account in accounts],))
            (there,) = at.fetchone() or (0,)
            _put(at, accounts)
            return len(accounts) - int(there)

        return self._change(work)

    def set_active(self, id_: str, active: bool) -> bool:
        """Whether the account was otherwise before. Raises Refused when there is none."""

        def work(at: cursor) -> bool:
            at.execute("SELECT active FROM postroom_account WHERE id = %s FOR UPDATE", (id_,))
            row = at.fetchone() or _nobody(id_)
            at.execute("UPDATE postroom_account SET active = %s WHERE id = %s", (active, id_))
            return bool(row[0] != active)

        return self._change(work)

    def add_key(self, id_: str, new: Sequence[Certificate]) -> None:
        """Keeps public keys with an account. What another copy of one knew (a revocation, a longer life) is kept. Raises Refused."""

        def work(at: cursor) -> None:
            at.execute("SELECT id FROM postroom_account WHERE id = %s FOR UPDATE", (id_,))
            at.fetchone() or _nobody(id_)
            for certificate in new:
                at.execute(
                    "SELECT armored FROM postroom_key WHERE account = %s AND fingerprint = %s AND armored IS NOT NULL",
                    (id_, certificate.fingerprint),
                )
                for (old,) in at.fetchall():
                    for known in certificates("the key in the database", old.encode()):
                        certificate = known.merged(certificate)  # noqa: PLW2901
                at.execute(_PUT_KEY, (id_, certificate.fingerprint, certificate.armored()))

        self._change(work)

    def remove_key(self, id_: str, fingerprint: str) -> None:
        """Takes a key, and its fingerprint, from an account. Raises Refused when it is not one of the account's."""

        def work(at: cursor) -> None:
            at.execute("DELETE FROM postroom_key WHERE account = %s AND fingerprint = %s", (id_, fingerprint))
            if at.rowcount == 0:
                at.execute("SELECT FROM postroom_account WHERE id = %s", (id_,))
                at.fetchall() or _nobody(id_)
                raise Refused(f"account {id_!r} has no key {fingerprint}; `postroom accounts show` shows those that it has")

        self._change(work)

    def close(self) -> None:
        """Closes connections."""
        self._pool.close()

    def _select(self, where: str, *values: object) -> list[Account]:
        def work(db: connection) -> list[Account]:
            with db.cursor() as at:
                at.execute(_SELECT + where, values)
                return [
                    Account(id_, name, active, tuple(addresses), tuple(fingerprints), strong)
                    for id_, name, active, addresses, fingerprints, strong in at.fetchall()
                ]

        return self._run(work)

    def _change(self, change: Callable[[cursor], Found]) -> Found:
        def work(db: connection) -> Found:
            with db, db.cursor() as at:
                return change(at)

        return self._run(work)

    def _run(self, work: Callable[[connection], Found]) -> Found:
        try:
            return self._pool.run(work)
        except psycopg2.Error as error:
            raise Fatal(f"[accounts] postgresql: {self._pool.words(error)}") from None
        except UnicodeEncodeError as error:
            raise Fatal(
                f"[accounts] postgresql: the database's encoding has no letter {error.object[error.start]!r}: use one in UTF8"
            ) from None

    def _migrate(self, db: connection) -> None:
        self.migrated = migrate.migrate(db)


def _put(at: cursor, accounts: Sequence[Account]) -> None:
    """Upserts accounts, and makes their addresses and the fingerprints without a key what is given."""
    ids = [account.id for account in accounts]
    addresses = [(address, account.id) for account in accounts for address in account.addresses]
    fingerprints = [(account.id, fingerprint) for account in accounts for fingerprint in account.fingerprints]
    at.execute(_PUT, (ids, *([getattr(account, name) for account in accounts] for name in ("name", "active", "require_strong"))))
    at.execute("DELETE FROM postroom_address WHERE account = ANY(%s)", (ids,))
    at.execute(_PUT_ADDRESSES, _columns(addresses))
    at.execute(_TAKEN, _columns(addresses))
    if taken := at.fetchall():
        raise Refused("\n".join(f"{address} belongs to account {owner!r} already: take it from there first" for address, owner in taken))
    at.execute("DELETE FROM postroom_key WHERE account = ANY(%s) AND armored IS NULL", (ids,))
    at.execute(_PUT_FINGERPRINTS, _columns(fingerprints))


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _nobody(id_: str) -> NoReturn:
    raise Refused(f"there is no account {id_!r}; `postroom accounts list` shows those that there are")
