"""The tables of the accounts, in versions: each file of `schema/` brings them one further, and none is ever changed."""

from functools import cache
from importlib.resources import files

from psycopg2.extensions import connection

from streams.errors import Fatal
from streams.faults import Newer

_LOCK = 0x61636374
"""Of the advisory lock under which tables are changed: "acct"."""


def newest() -> int:
    """The version that this program knows."""
    return len(_steps())


def version(db: connection) -> int:
    """The version of the tables; 0 where there are none. Raises psycopg2.Error."""
    with db.cursor() as cursor:
        cursor.execute("SELECT to_regclass('postroom_directory') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return 0
        cursor.execute("SELECT version FROM postroom_directory")
        (found,) = cursor.fetchone() or (0,)
        return int(found)


def check(db: connection) -> None:
    """Raises Fatal where tables are missing or old, Newer where a later program made them; psycopg2.Error."""
    found = version(db)
    _refuse_newer(found)
    if found == 0:
        raise Fatal("[accounts] postgresql: the database has no tables of postroom; `postroom accounts migrate` makes them")
    if found < newest():
        raise Fatal(f"[accounts] postgresql: the tables have version {found}, and {newest()} is needed; run `postroom accounts migrate`")


def migrate(db: connection) -> tuple[int, int]:
    """Brings the tables to the newest version, all steps or none; the versions before and after. Several may try at once. Raises Newer,
    psycopg2.Error."""
    with db, db.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        before = version(db)
        _refuse_newer(before)
        steps = _steps()
        for number, step in enumerate(steps[before:], before + 1):
            cursor.execute(step)
            cursor.execute("UPDATE postroom_directory SET version = %s", (number,))
    return before, len(steps)


def _refuse_newer(found: int) -> None:
    if found > newest():
        raise Newer(f"[accounts] postgresql: the tables have version {found}; this program knows {newest()}: upgrade postroom here")


@cache
def _steps() -> list[str]:
    folder = files(__package__).joinpath("schema")
    return [path.read_text("utf-8") for path in sorted(folder.iterdir(), key=lambda path: path.name) if path.name.endswith(".sql")]
