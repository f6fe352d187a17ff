"""Looking up who senders are, on a real PostgreSQL: our own tables, and the user's by a query of theirs."""

import re
import threading
import tomllib
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import psycopg2
import pytest

from postroom.directory.entries import account_of
from postroom.directory.rows import RowError
from streams.errors import Fatal
from streams.faults import Newer
from tests.directory.conftest import Open
from tests.directory.people import ADA, BEN, CLEO, OWN_QUERY, OWN_TABLES, ask
from topology.address import key

pytestmark = pytest.mark.postgres


def test_accounts_are_found_by_each_of_their_addresses(opened: Open) -> None:
    directory = opened()
    directory.store.put([ADA, BEN, CLEO])
    found = directory.lookup(
        ["ada@north.example", "ada@xn--mnchen-3ya.example", "ben@south.example", "cleo@north.example", "eve@x.example"]
    )
    assert {address: account.id for address, account in found.items()} == {
        "ada@north.example": "ada",
        "ada@xn--mnchen-3ya.example": "ada",
        "ben@south.example": "ben",
        "cleo@north.example": "cleo",
    }
    ada, ben, cleo = (found[address] for address in ("ada@north.example", "ben@south.example", "cleo@north.example"))
    assert (ada.name, ada.active, ada.fingerprints, ada.require_strong) == ("Ada", True, ("A" * 40,), False)
    assert not ben.active
    assert cleo.require_strong


def test_nobody_is_found_among_nobody(opened: Open) -> None:
    """An address that no table can hold (a quoted local part may have a NUL) is nobody's, and no error."""
    directory = opened()
    directory.store.put([ADA])
    hostile = key('"a\0b"@north.example')
    assert hostile
    assert directory.lookup([]) == {}
    assert directory.lookup([hostile, "' OR true --@x.example", "%s@x.example"]) == {}


def test_a_database_of_few_letters_knows_nobody_with_others(opened: Open, database: str) -> None:
    """Anybody may write such a From; it is no error. What it cannot keep is told."""
    name = database.rpartition("/")[2] + "_latin1"
    with closing(psycopg2.connect(database)) as db:
        db.autocommit = True
        db.cursor().execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    directory = opened(database.rpartition("/")[0] + "/" + name)
    directory.store.put([account_of("jürgen", "Jürgen", ["jürgen@x.example"])])
    assert set(directory.lookup(["jürgen@x.example", "\N{CYRILLIC SMALL LETTER A}da@x.example"])) == {"jürgen@x.example"}
    with pytest.raises(Fatal, match="UTF8"):
        directory.store.put([account_of("\N{SNOWMAN}")])


# -- the tables ------------------------------------------------------------------------------------------------------


def test_without_tables_the_word_is_what_makes_them(opened: Open) -> None:
    directory = opened()
    with pytest.raises(Fatal, match="no tables of postroom; `postroom accounts migrate` makes them"):
        directory.lookup(["ada@north.example"])
    assert directory.store.migrate() == (0, 1)
    assert directory.lookup(["ada@north.example"]) == {}
    assert directory.store.migrate() == (0, 1), "that is what the first use found"
    assert opened().store.migrate() == (1, 1)


def test_tables_of_a_later_version_are_refused(opened: Open, database: str) -> None:
    """By the chain and by the commands, before anything is read or changed."""
    opened().store.put([ADA])
    ask(database, "UPDATE postroom_directory SET version = 99")
    for use in (lambda: opened().lookup(["ada@north.example"]), opened().store.migrate, lambda: opened().store.put([BEN])):
        with pytest.raises(Newer, match=r"version 99; this program knows 1: upgrade postroom"):
            use()
    assert ask(database, "SELECT id FROM postroom_account") == [("ada",)]


def test_old_tables_are_brought_up_to_date_before_they_are_used(opened: Open, database: str) -> None:
    opened().store.put([ADA])
    ask(database, "UPDATE postroom_directory SET version = -1")
    with pytest.raises(Fatal, match="have version -1, and 1 is needed; run `postroom accounts migrate`"):
        opened().lookup(["ada@north.example"])


def test_several_that_make_the_tables_at_once_make_them_once(opened: Open) -> None:
    stores = [opened().store for _ in range(4)]
    results: list[tuple[int, int]] = []
    threads = [threading.Thread(target=lambda store=store: results.append(store.migrate())) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(0, 1), (1, 1), (1, 1), (1, 1)]


# -- tables of the user's --------------------------------------------------------------------------------------------


def test_a_query_onto_the_users_tables_gives_their_accounts(opened: Open, database: str) -> None:
    """Addresses as people wrote them, numbers as ids, a row a key: one account each."""
    ask(database, OWN_TABLES)
    found = opened(query=OWN_QUERY).lookup(["ada@north.example", "ben@south.example", "eve@x.example"])
    assert set(found) == {"ada@north.example", "ben@south.example"}
    ada, ben = found["ada@north.example"], found["ben@south.example"]
    assert (ada.id, ada.name, ada.active, set(ada.fingerprints)) == ("1", "ada", True, {"A" * 40, "B" * 40})
    assert (ben.id, ben.active, ben.fingerprints, ben.require_strong) == ("2", False, (), False)


def test_columns_that_are_left_out_have_defaults(opened: Open, database: str) -> None:
    ask(database, OWN_TABLES)
    query = "SELECT lower(email) AS address, number AS id FROM users WHERE lower(email) = ANY(%(addresses)s)"
    (ben,) = opened(query=query).lookup(["ben@south.example"]).values()
    assert (ben.id, ben.name, ben.active, ben.fingerprints, ben.require_strong) == ("2", "2", True, (), False)


def test_a_null_is_not_active(opened: Open) -> None:
    """Who may be locked out stays locked out."""
    query = "SELECT 'a@x.example' AS address, 7 AS id, NULL::bool AS active, NULL AS name WHERE 'a@x.example' = ANY(%(addresses)s)"
    assert opened(query=query).lookup(["a@x.example"])["a@x.example"].active is False


def test_rows_about_others_are_left_alone(opened: Open) -> None:
    """A query that gives more than it was asked about makes nobody an account."""
    query = "SELECT unnest(ARRAY['a@x.example', 'b@x.example', 'none']) AS address, 1 AS id WHERE %(addresses)s::text[] IS NOT NULL"
    assert set(opened(query=query).lookup(["b@x.example"])) == {"b@x.example"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT address FROM nowhere WHERE address = ANY(%(addresses)s)", 'relation "nowhere" does not exist'),
        ("SELEKT %(addresses)s", "syntax error"),
        ("SELECT 1 AS id WHERE 'a' = ANY(%(addresses)s)", "no column address"),
        ("SELECT 'a' AS address WHERE 'a' = ANY(%(addresses)s)", "no column id"),
        ("SELECT 'a' AS address, 1 AS id, 2 AS require_strogn WHERE 'a' = ANY(%(addresses)s)", "require_strogn, which means nothing here"),
        ("SELECT 'a' AS address, 1 AS id, 'yes' AS active WHERE 'a' = ANY(%(addresses)s)", "column active is no boolean"),
        ("DO 'BEGIN END' /* %(addresses)s */", "write a SELECT"),
        ("CREATE TABLE x AS SELECT unnest(%(addresses)s::text[])", "read-only transaction"),
    ],
)
def test_a_wrong_query_is_one_line_that_names_the_setting(opened: Open, query: str, words: str) -> None:
    """It is found out by asking about nobody, at the start and by `check`, and it fails no mail."""
    for use in (opened(query=query).look, lambda: opened(query=query).lookup(["a@x.example"])):
        with pytest.raises(Fatal, match=r"^\[accounts\] query: ") as told:
            use()
        assert words in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("'a@x.example' AS address, NULL AS id", "a@x.example: its account has no id"),
        ("'a@x.example' AS address, generate_series(1, 2) AS id", "a@x.example belongs to two accounts, '1' and '2'"),
        ("'a@x.example' AS address, 1 AS id, 'cafe' AS fingerprints", "a@x.example: 'cafe' is no OpenPGP fingerprint"),
        ("'a@x.example' AS address, 1 / (n - 1) AS id", "division by zero"),
    ],
)
def test_what_cannot_be_of_one_account_is_the_fault_of_its_mails_alone(opened: Open, columns: str, words: str) -> None:
    """Not Fatal and not Hold, so the runner finds the mail, and all others go on."""
    directory = opened(query=f"SELECT {columns} FROM generate_series(1, 1) n WHERE 'a@x.example' = ANY(%(addresses)s)")
    assert directory.lookup(["b@x.example"]) == {}
    with pytest.raises(RowError) as told:
        directory.lookup(["a@x.example", "b@x.example"])
    assert words in str(told.value)


def test_what_the_database_does_not_let_us_read_is_told(opened: Open, database: str) -> None:
    """A role without the rights: one line, no waiting."""
    opened().store.put([ADA])
    role = "r" + database.rpartition("/")[2]
    ask(database, f"CREATE ROLE {role} LOGIN")
    for rights in ("", f"GRANT SELECT ON postroom_directory TO {role}"):
        if rights:
            ask(database, rights)
        with pytest.raises(Fatal, match=r"^\[accounts\] postgresql: permission denied for table postroom_"):
            opened(database.replace("postgres@", f"{role}@")).lookup(["ada@north.example"])
    ask(database, f"GRANT SELECT ON postroom_address, postroom_account, postroom_key TO {role}")
    assert opened(database.replace("postgres@", f"{role}@")).lookup(["ada@north.example"])
    ask(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_query_of_the_documentation_works(opened: Open, database: str) -> None:
    """As it stands in docs/accounts.md, on tables such as it supposes."""
    blocks = re.findall(
        r"^    \[accounts\]\n(?:    .*\n)+",
        Path(__file__).parents[2].joinpath("docs/accounts.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    settings = next(tomllib.loads(dedent(block))["accounts"] for block in blocks if "query =" in block)
    ask(
        database,
        """
        CREATE TABLE users (id serial, email text, full_name text, deleted_at date, email_verified boolean);
        CREATE TABLE pgp_keys (user_id int, fingerprint text, armored text, updated_at timestamptz DEFAULT now());
        INSERT INTO users (email, full_name, email_verified) VALUES ('Ada@x.example', 'Ada', true), ('eve@x.example', 'Eve', false);
        INSERT INTO pgp_keys VALUES (1, repeat('A', 40), 'a key')
        """,
    )
    directory = opened(query=settings["query"], keys_query=settings["keys_query"])
    found = directory.lookup(["ada@x.example", "eve@x.example"])
    assert {address: (account.id, account.fingerprints) for address, account in found.items()} == {"ada@x.example": ("1", ("A" * 40,))}
    assert directory.keys() == [("a key of account 1", b"a key")]
    assert directory.keys_version is not None
