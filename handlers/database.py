"""`mail.db`: the handler's work, the idempotency key and what the handler said, in one transaction of one PostgreSQL database.

So a delivery that comes again (the worker died before the log had its outcome) finds its key, and the word that was said then is
taken instead of calling the handler: its effect happens once. Only what was handled is kept; anything else is rolled back, and
may be called again.

    CREATE TABLE postroom_effects (handler text, key text, said text, at timestamptz, PRIMARY KEY (handler, key))

The table is made at the first use. Nothing but a repeat reads it, so rows older than the log's retention may be deleted.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress

import orjson
import psycopg2
from psycopg2.extensions import STATUS_BEGIN, TRANSACTION_STATUS_IDLE, connection

from handlers.connection import AGAIN, CLASHES, EffectConnection, connect, in_words, sever
from handlers.fingerprint import of as fingerprint_of
from handlers.word import Said, Word, of_raise
from streams.faults import Hold, Newer

SCHEMA = 1
"""Of the table, kept in its comment."""
_LOCK = 0x706F7374726F6F6D
"""Of the advisory lock under which the table is made: "postroom"."""
_CREATE = f"""
    SELECT pg_advisory_xact_lock({_LOCK});
    CREATE TABLE IF NOT EXISTS postroom_effects (
        handler text NOT NULL, key text NOT NULL, said text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (handler, key));
    COMMENT ON TABLE postroom_effects IS 'what postroom handlers did, by idempotency key; version {SCHEMA}'
"""
_FIND = """
    SELECT quote_ident(nspname), obj_description(pg_class.oid, 'pg_class')
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass('postroom_effects')
"""


class Effects:
    """The database of one handler. limit: seconds that one call of the handler may take. Connections are made as they are needed and
    kept. All methods may be called from several threads. Nothing raised or logged here holds the password."""

    def __init__(self, url: str, handler: str, limit: float) -> None:
        self.part = f"database of handler {handler}"
        self._url = url
        self._handler = handler
        # A little longer than the call, so that the word on one that is late is never the server's "statement timeout".
        self._statement_seconds = limit + 2
        self._idle: list[EffectConnection] = []
        self._table: str | None = None

    def known(self, keys: Sequence[str]) -> dict[str, Said]:
        """What was said under these keys before; one query. Raises Hold, Newer."""
        while True:
            kept = bool(self._idle)
            db = self.take()
            try:
                found = self.read(db, keys)
                connection.commit(db)
            except psycopg2.Error as error:
                connection.close(db)
                if not kept:  # one that was kept may have died since; a fresh one should have worked
                    raise self._away(error) from None
            else:
                self._idle.append(db)
                return found

    def read(self, db: EffectConnection, keys: Sequence[str]) -> dict[str, Said]:
        """As `known`, within a transaction. Raises psycopg2.Error."""
        with db.cursor() as cursor:
            cursor.execute(f"SELECT key, said FROM {self._table} WHERE handler = %s AND key = ANY(%s)", (self._handler, list(keys)))
            return {key: Said.decode(said) for key, said in cursor.fetchall()}

    def keep(self, db: EffectConnection, key: str, said: Said) -> bool:
        """Records the word and commits. False when the key was there already, and nothing was done. Raises psycopg2.Error."""
        with db.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._table} (handler, key, said) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                # ASCII, which a database of any encoding takes.
                (self._handler, key, json.dumps(orjson.loads(said.encode()))),
            )
            if cursor.rowcount == 0:
                connection.rollback(db)
                return False
        connection.commit(db)
        return True

    def take(self) -> EffectConnection:
        """A connection for one call. Raises Hold when none can be had, Newer."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def give_back(self, db: EffectConnection) -> None:
        """The call is over, its transaction ended."""
        if db.closed:
            self.close()  # the server went, and what was idle with this one is as dead
        else:
            self._idle.append(db)

    def session(self, key: str, own_file: str | None, late: Word) -> "Session":
        """See Session."""
        return Session(self, key, own_file, late)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        while self._idle:
            with suppress(IndexError):
                connection.close(self._idle.pop())

    def _connect(self) -> EffectConnection:
        try:
            db = connect(self._url, f"handler {self._handler}", self._statement_seconds, EffectConnection)
        except psycopg2.Error as error:
            raise self._away(error) from None
        try:
            self._table = self._table or self._found(db)
        except BaseException as error:
            connection.close(db)
            if isinstance(error, psycopg2.Error):
                raise self._away(error) from None
            raise
        return db

    def _found(self, db: EffectConnection) -> str:
        """The qualified name of the table, which is made when it is missing."""
        with db.cursor() as cursor:
            cursor.execute(_FIND)
            row = cursor.fetchone()
            if row is None:
                cursor.execute(_CREATE)
                cursor.execute(_FIND)
                row = cursor.fetchone()
        connection.commit(db)
        assert row
        schema, comment = row
        version = re.search(r"version (\d+)$", comment or "")
        if version is None:
            raise Hold(self.part, f"the table {schema}.postroom_effects is not ours: rename it, or give this handler another schema", 10)
        if int(version[1]) > SCHEMA:
            raise Newer(
                f"{self.part}: {schema}.postroom_effects has version {version[1]}; this program knows {SCHEMA}: upgrade postroom here"
            )
        return f"{schema}.postroom_effects"

    def _away(self, error: psycopg2.Error) -> Hold:
        return Hold(self.part, in_words(error, self._url))


class Session:
    """One delivery's way through the database, with as many calls of the handler as it takes:

    while (db := session.begin()) is not None:
        session.end(…what the handler said, called with db…)
    return session.word

    late: the word on a call that was cut off.
    """

    def __init__(self, effects: Effects, key: str, own_file: str | None, late: Word) -> None:
        self._effects = effects
        self._key = key
        self._own_file = own_file
        self._late = late
        self._word: Word | None = None
        self._db: EffectConnection | None = None
        self._calls = 0
        self._abandoned = False

    @property
    def word(self) -> Word:
        """The word that counts, once `begin` returned None."""
        assert self._word
        return self._word

    def begin(self) -> EffectConnection | None:
        """A connection for the next call, or None when there is a word. Raises Hold, Newer."""
        if self._word is None and self._calls:
            # The last commit may have arrived although its answer did not.
            self._word = self._effects.known([self._key]).get(self._key)
        if self._word is not None:
            return None
        self._calls += 1
        self._db = db = self._effects.take()
        if self._abandoned:
            self._release(db)
            return None
        return db

    def end(self, word: Word) -> None:
        """What the handler said. Commits what was handled, with its key, and rolls back the rest. Does nothing when the call has ended
        already. Raises Hold, Newer."""
        db = self._db
        if db is None:
            return
        try:
            if isinstance(word, Said) and word.status == "handled":
                word = self._kept(db, word)
        except (psycopg2.Error, UnicodeError) as error:
            word = of_raise(error, self._own_file)
        with suppress(psycopg2.Error):  # that it is lost shows in db.closed
            connection.rollback(db)
        lost = bool(db.closed)
        self._release(db)
        again = isinstance(word, Said) and word.reason == "handler-error" and (lost or _clashed(word))
        if self._abandoned or (again and self._calls <= AGAIN):
            return
        # The last commit may have arrived although its answer did not, here as in `begin`.
        self._word = self._effects.known([self._key]).get(self._key, word) if lost else word

    def cut_off(self) -> None:
        """From another thread: whatever this call still does has no effect. Returns at once."""
        self._abandoned = True
        if (db := self._db) is not None:
            sever(db)

    def _kept(self, db: EffectConnection, word: Said) -> Said:
        if db.status == STATUS_BEGIN and db.info.transaction_status == TRANSACTION_STATUS_IDLE:
            detail = "the handler ended the transaction of mail.db with SQL of its own: leave COMMIT and ROLLBACK to postroom"
            return Said("failed", "handler-error", detail, fingerprint_of("transaction", "ended"))
        if self._effects.keep(db, self._key, word):
            return word
        return self._effects.read(db, [self._key]).get(self._key, word)

    def _release(self, db: EffectConnection) -> None:
        self._db = None
        if self._abandoned:
            self._word = self._late
            connection.close(db)
        else:
            self._effects.give_back(db)


def _clashed(said: Said) -> bool:
    """Whether the handler failed by a deadlock or a serialisation failure, perhaps wrapped in an error of its own."""
    error = said.error
    for _ in range(10):
        if isinstance(error, psycopg2.Error) and error.pgcode in CLASHES:
            return True
        if error is None:
            break
        error = error.__cause__ or error.__context__
    return False
