"""Connections to PostgreSQL, in one way for all who need one (handlers, accounts): addresses that are never quoted, limits that a
hanging server cannot outlast, faults in words without the password. And the connection behind `mail.db`, whose transaction belongs to
the program.
"""

import socket
import threading
from contextlib import suppress
from os import dup
from typing import NoReturn, TypeVar

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import connection, parse_dsn

CONNECT_SECONDS = 10
"""How long a server may take to let us in; connect_timeout in the address says otherwise."""
CLASHES = frozenset({errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE})
"""What is worth trying again, because it was about two transactions and not about what they do."""
AGAIN = 3
"""How often work is tried again after a clash or a lost connection."""

# The server itself ends what an abandoned client left behind: a statement that runs on, a transaction that idles, a statement
# whose client has gone (PostgreSQL 14 and later).
_LIMITS = """
    SELECT set_config(name, value, false) FROM (VALUES
        ('statement_timeout', %(limit)s), ('idle_in_transaction_session_timeout', %(idle)s), ('client_connection_check_interval', '2s')
    ) AS wanted (name, value) WHERE current_setting(name, true) IS NOT NULL
"""

Connection = TypeVar("Connection", bound=connection)


def fault(url: str) -> str | None:
    """What is wrong with a `database` setting, as far as it can be seen without connecting, or None. Never quotes it: it may hold a
    password, and where it is misspelt even as host or port."""
    hint = "write it as postgresql://user@host/name, with @, / and : in a password as %40, %2F and %3A"
    try:
        parts = parse_dsn(url)
    except psycopg2.Error:
        return f"is no PostgreSQL address; {hint}"
    ports = str(parts.get("port", "")).split(",")
    if any(port and not port.isdigit() for port in ports) or "@" in str(parts.get("host", "")):
        return f"has a port or host that is none; {hint}"
    if not str(parts.get("connect_timeout", CONNECT_SECONDS)).strip().isdigit():
        return "has a connect_timeout that is no number of seconds"
    return None


def connect(url: str, name: str, limit: float, kind: type[Connection]) -> Connection:
    """A fresh connection, which has answered, in no transaction. url: without `fault`. name: what the server's list of connections
    says, after "postroom". limit: seconds that a statement may run. Blocks for twice CONNECT_SECONDS at most. Raises
    psycopg2.Error."""
    db: Connection = psycopg2.connect(
        url,
        connection_factory=kind,
        connect_timeout=int(parse_dsn(url).get("connect_timeout", CONNECT_SECONDS)),
        fallback_application_name=f"postroom {name}",
    )
    try:
        with Overdue(db, CONNECT_SECONDS), db.cursor() as cursor:  # a proxy lets us in at once, and the server behind it may be away
            cursor.execute(_LIMITS, {"limit": f"{max(1, round(limit * 1000))}ms", "idle": f"{round(limit) + 60}s"})
            connection.commit(db)
    except BaseException:
        connection.close(db)
        raise
    return db


def in_words(error: psycopg2.Error, url: str) -> str:
    """What the driver said, on one line and without the password of the address."""
    words = " ".join(str(error).split())
    parts = parse_dsn(url)
    for secret in ("password", "sslpassword"):
        words = words.replace(str(parts[secret]), "…") if parts.get(secret) else words
    return words


class EffectConnection(connection):
    """What `mail.db` is: a psycopg2 connection whose transaction belongs to the program."""

    def _refuse(self, *_args: object, **_kw: object) -> NoReturn:
        raise RuntimeError(
            "mail.db is committed or rolled back by postroom when the handler ends: use its cursors, and SAVEPOINT for a part"
        )

    commit = rollback = close = reset = set_session = set_isolation_level = _refuse
    tpc_begin = tpc_prepare = tpc_commit = tpc_rollback = tpc_recover = __enter__ = _refuse
    autocommit = property(lambda self: False, _refuse)
    isolation_level = property(connection.isolation_level.__get__, _refuse)
    readonly = property(connection.readonly.__get__, _refuse)
    deferrable = property(connection.deferrable.__get__, _refuse)


class Overdue:
    """While this is entered for longer than `seconds`, the connection is severed: a frozen server, or a network that swallows
    everything, never says that it is out of time. Whoever waits gets psycopg2.Error, and `fired` is true."""

    def __init__(self, db: connection, seconds: float) -> None:
        self.fired = False
        self._db = db
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _fire(self) -> None:
        self.fired = True
        sever(self._db)


def sever(db: connection) -> None:
    """Takes the connection away from a thread that may be in the middle of using it. The socket is shut first, so that no COMMIT goes
    out any more; then the server is asked, in a thread because that may block, to cancel what runs."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=dup(db.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)

    def cancel() -> None:
        with suppress(psycopg2.Error):
            db.cancel()

    threading.Thread(target=cancel, daemon=True).start()
