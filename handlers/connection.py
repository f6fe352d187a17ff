"""The connection behind `mail.db`: psycopg2's, whose transaction belongs to the program."""

import socket
import threading
from contextlib import suppress
from os import dup
from typing import NoReturn

import psycopg2
from psycopg2.extensions import connection, parse_dsn


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
    return None


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


def sever(db: EffectConnection) -> None:
    """Takes the connection away from a thread that may be in the middle of using it. The socket is shut first, so that no COMMIT goes
    out any more; then the server is asked, in a thread because that may block, to cancel what runs."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=dup(db.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)

    def cancel() -> None:
        with suppress(psycopg2.Error):
            db.cancel()

    threading.Thread(target=cancel, daemon=True).start()
