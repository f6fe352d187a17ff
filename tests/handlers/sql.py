"""Looking into the handlers' database from outside, and the work that the tests' handlers do there."""

from typing import Any

import psycopg2


def ask(url: str, sql: str) -> list[Any]:
    """Runs SQL outside any handler, committed."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def done(url: str) -> list[str]:
    """What the handlers did, and that is committed."""
    return [what for (what,) in ask(url, "SELECT what FROM done ORDER BY what")]


def do(mail: Any, sql: str = "INSERT INTO done VALUES (%s)") -> None:
    """A handler's work: one row with the mail's subject."""
    with mail.db.cursor() as cursor:
        cursor.execute(sql, (mail.message["subject"],) if "%s" in sql else None)
