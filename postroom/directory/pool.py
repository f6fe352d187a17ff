"""Connections to the accounts' database, and the one place where its faults are told apart (DESIGN.md section 4, Faults)."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import connection

from handlers.connection import AGAIN, CLASHES, Overdue, connect, in_words
from streams.faults import Hold

Found = TypeVar("Found")

PART = "accounts"
"""What the role says that it waits for."""
_GRACE = 2.0
"""Seconds after the server's own limit within which its word on that must have come; then it is taken for hanging."""
_AWAY_CLASSES = (
    errorcodes.CLASS_INSUFFICIENT_RESOURCES,
    errorcodes.CLASS_OBJECT_NOT_IN_PREREQUISITE_STATE,
    errorcodes.CLASS_OPERATOR_INTERVENTION,
    errorcodes.CLASS_SYSTEM_ERROR,
    errorcodes.CLASS_INTERNAL_ERROR,
)
"""The server answers, and says that it cannot work just now: full, locked, shutting down, out of time, broken."""


class Pool:
    """Connections to one database, made as they are needed and kept. timeout: seconds that a statement may take. opened: is called
    with each fresh connection, and may refuse what it finds. Safe to use from several threads. Nothing raised here holds a password."""

    def __init__(self, url: str, timeout: float, opened: Callable[[connection], None] = lambda _db: None) -> None:
        self._url = url
        self._timeout = timeout
        self._opened = opened
        self._idle: list[connection] = []

    def run(self, work: Callable[[connection], Found]) -> Found:
        """Does some work on a connection that is in autocommit mode, and gives what it gives; work that was cut off is done again.

        Raises Hold when no fresh connection can be had, and when the server does not answer in time or says that it cannot work now;
        psycopg2.Error for any other fault of the work, and for a clash or a lost connection after it was tried three times more; what
        `opened` and the work itself raise.
        """
        tries = 0
        while True:
            kept, db = self._take()
            overdue = Overdue(db, self._timeout + _GRACE)
            try:
                with overdue:
                    return work(db)
            except psycopg2.Error as error:
                if overdue.fired:
                    raise Hold(PART, f"no answer within {self._timeout:g} s") from None
                if not db.closed:
                    self._refuse(error)
                tries += not (db.closed and kept)  # one that was kept may have died long ago
                if tries > AGAIN:
                    raise
            finally:
                self._release(db)

    def words(self, error: psycopg2.Error) -> str:
        """What the server said, on one line and without the password."""
        return in_words(error, self._url)

    def close(self) -> None:
        """Closes what is not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def _take(self) -> tuple[bool, connection]:
        """A connection, and whether it was kept from before. Raises Hold."""
        with suppress(IndexError):
            return True, self._idle.pop()
        try:
            db = connect(self._url, PART, self._timeout, connection)
        except psycopg2.Error as error:
            raise self._hold(error) from None
        try:
            db.autocommit = True
            with Overdue(db, self._timeout + _GRACE):
                self._opened(db)
        except BaseException as error:
            lost = bool(db.closed)
            db.close()
            if isinstance(error, psycopg2.Error) and (lost or _away(error)):
                raise self._hold(error) from None
            raise
        return False, db

    def _refuse(self, error: psycopg2.Error) -> None:
        """Raises what ends the work. Returns for a clash, after which it is done again."""
        if _away(error):
            raise self._hold(error) from None
        if error.pgcode not in CLASHES:
            raise error

    def _release(self, db: connection) -> None:
        if db.closed:
            self.close()  # the server went, and what was idle with this one is as dead
        else:
            self._idle.append(db)

    def _hold(self, error: psycopg2.Error) -> Hold:
        return Hold(PART, in_words(error, self._url))


def _away(error: psycopg2.Error) -> bool:
    """Whether the server itself says, on a connection that it keeps, that it cannot work now."""
    return (error.pgcode or "")[:2] in _AWAY_CLASSES
