"""A10 and E5 with handlers on Faust: a real PostgreSQL that is away at first, and SQL that fails."""

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.acceptance.place import Letters
from tests.database import Server
from tests.faust.place import faust_place, imported

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

SQL = """
async def tickets(mail):
    with mail.db.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS effects (delivery text)")
        cursor.execute("INSERT INTO effects VALUES (%s)", (mail.delivery_id,))
        if mail.recipient.startswith("zero@"):
            cursor.execute("SELECT 1/0")

async def other(mail):
    pass
"""


def test_a10_e5_a_handler_waits_for_its_database_and_failing_sql_ends_one_mail(tmp_path: Path, postgres: Server, database: str) -> None:
    place = faust_place(tmp_path, SQL, {"tickets": {"database": database, "concurrency": 4}, "other": {}})
    letter = Letters()
    mails = [letter(f"{local}@tickets.org") for local in ("a", "zero", "b", "c")] + [letter("x@other.org")]
    ids = {line["mail_id"] for line in imported(place, mails)}
    postgres.stop()
    place.run("run", "--drain", "--patience", "4s", status=75)
    assert "waits, because database of handler tickets" in place.stderr
    assert [row["recipient"] for row in place.outcomes()] == ["x@other.org"]  # that handler alone waits
    postgres.start()
    place.drain()
    assert "DivisionByZero" in place.stderr
    rows = {row["recipient"].partition("@")[0]: (row["status"], row["reason"]) for row in place.outcomes()}
    assert rows == dict.fromkeys("abcx", ("handled", None)) | {"zero": ("failed", "handler-error")}
    assert {row["mail_id"] for row in place.outcomes()} == ids
    assert len(place.outbox()) == 1
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT delivery) FROM effects")
        assert cursor.fetchone() == (3, 3)
    assert place.fsck()["ended"] == 5
