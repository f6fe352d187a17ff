"""Trying a handler without an effect: its `preview`, which `postroom replay` asks what `handle` would say of a mail.

    def handle(mail): ...
    def preview(mail): ...      # beside it in its module; or handle.preview, where one module has several handlers

It is called with the same mail, may be a coroutine too, and what it returns or raises counts as it would in `handle`. It must do nothing:
`mail.db` is in a transaction that only reads, and is rolled back; for all else the word of who writes it has to do.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection

from handlers.connection import EffectConnection, connect
from handlers.database import Effects
from handlers.python import PythonHandler
from handlers.registry import HandlerSpec, load
from handlers.word import Said


def build_preview(spec: HandlerSpec, folder: Path) -> PythonHandler | None:
    """What is called in the handler's stead, or None where it offers nothing: no Python handler, or one without a preview. folder: that of
    the settings file. Raises HandlerSettingsError for code that cannot be had."""
    function = preview_of(load(spec, folder)) if spec.use == "python" else None
    if function is None:
        return None
    effects = ReadOnly(spec.database, spec.name, spec.timeout) if spec.database is not None else None
    return PythonHandler(spec.name, function, limit=spec.timeout, concurrency=spec.concurrency, effects=effects)


def preview_of(function: Any) -> Any:
    """The preview of a handler's function, or None: an attribute of it, else what is called so beside a function called `handle`."""
    found = getattr(function, "preview", None)
    if found is None and getattr(function, "__name__", None) == "handle":
        found = getattr(sys.modules.get(function.__module__), "preview", None)
    return found if callable(found) and not isinstance(found, type) else None


class ReadOnly(Effects):
    """A handler's database for looking only: nothing of it is changed, the table of effects is not looked at, and no word is kept."""

    def known(self, keys: Sequence[str]) -> dict[str, Said]:
        """Nothing: what was said before is not what is asked."""
        return {}

    def read(self, db: EffectConnection, keys: Sequence[str]) -> dict[str, Said]:
        """Likewise."""
        return {}

    def keep(self, db: EffectConnection, key: str, said: Said) -> bool:
        """Ends the transaction without a trace."""
        connection.rollback(db)
        return True

    def take(self) -> EffectConnection:
        """See Effects. The transaction has begun: after its first query nobody can make it one that writes."""
        db = super().take()
        try:
            with db.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error as error:
            connection.close(db)
            raise self._away(error) from None
        return db

    def _connect(self) -> EffectConnection:
        try:
            db = connect(self._url, f"preview of {self._handler}", self._statement_seconds, EffectConnection)
            connection.set_session(db, readonly=True)
        except psycopg2.Error as error:
            raise self._away(error) from None
        return db
