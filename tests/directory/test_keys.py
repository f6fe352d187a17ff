"""Public keys in the database, beside those of the folder."""

import logging
import shutil
from pathlib import Path

import psycopg2
import pytest
from pysequoia import Tsk

from postroom.directory import keys as keys_module
from postroom.directory.keys import DatabaseKeys
from postroom.directory.postgres import PostgresDirectory
from postroom.directory.store import Refused
from streams.errors import Fatal
from tests.directory.conftest import Open
from tests.directory.people import ADA, BEN, OWN_TABLES, ask
from tests.openpgp.conftest import KEYS
from topology.openpgp import Keyring
from topology.openpgp.sequoia import Certificate
from topology.openpgp.sources import certificates

pytestmark = pytest.mark.postgres

ASKED = ["ada@north.example"]


def certificate(name: str) -> Certificate:
    """A public key of tests/openpgp."""
    (found,) = certificates(name, (KEYS / f"{name}.asc").read_bytes())
    return found


def watching(directory: PostgresDirectory, folder: Path | None = None) -> Keyring:
    """A keyring as `postroom.site` makes it."""
    keyring = Keyring.load(folder) if folder else Keyring()
    keyring.watch(DatabaseKeys(directory.keys, lambda: directory.keys_version))
    return keyring


def test_a_key_counts_from_the_next_lookup_on_and_goes_likewise(opened: Open, tmp_path: Path) -> None:
    """Its fingerprint is the account's, and it is held beside the keys of the folder."""
    shutil.copy(KEYS / "rsa.asc", tmp_path)
    directory, one, other = opened(), certificate("ed25519"), certificate("subkey")
    directory.store.put([ADA, BEN])
    keyring = watching(directory, tmp_path)
    for new in (one, other):
        directory.store.add_key("ada", [new])
        assert directory.lookup(ASKED)["ada@north.example"].fingerprints[-1] == new.fingerprint
        assert keyring.reload() is True
    assert keyring.fingerprints() == {certificate("rsa").fingerprint, one.fingerprint, other.fingerprint}
    directory.lookup(ASKED)
    assert keyring.reload() is False
    directory.store.remove_key("ada", one.fingerprint)
    assert one.fingerprint not in directory.lookup(ASKED)["ada@north.example"].fingerprints
    assert keyring.reload() is True
    assert one.fingerprint not in keyring.fingerprints()


def test_a_change_by_hand_counts_too(opened: Open, database: str) -> None:
    directory = opened()
    directory.store.put([ADA])
    directory.store.add_key("ada", [certificate("ed25519")])
    keyring = watching(directory)
    directory.lookup(ASKED)
    assert keyring.reload() is True
    for sql in ("UPDATE postroom_key SET armored = NULL", "TRUNCATE postroom_key"):
        ask(database, sql)
        directory.lookup(ASKED)
        assert keyring.reload() is True
        assert keyring.fingerprints() == frozenset()


def test_keys_that_are_not_yet_committed_do_not_count(opened: Open, database: str) -> None:
    """The version is seen when the keys are: otherwise the old ones would be read under the new version, and stay."""
    directory = opened()
    directory.store.put([ADA])
    directory.store.add_key("ada", [certificate("ed25519")])
    keyring = watching(directory)
    directory.lookup(ASKED)
    keyring.reload()

    def looks_meanwhile() -> bool:
        directory.lookup(ASKED)
        return keyring.reload()

    db = psycopg2.connect(database)
    with db, db.cursor() as cursor:
        cursor.execute("DELETE FROM postroom_key")
        assert looks_meanwhile() is False
    db.close()
    assert looks_meanwhile() is True
    assert keyring.fingerprints() == frozenset()


def test_an_old_copy_of_a_key_hides_no_revocation(opened: Open, database: str) -> None:
    """What either copy knows is kept."""
    directory = opened()
    directory.store.put([ADA])
    revoked = certificate("compromised")
    secret = (KEYS / "secret" / "compromised.asc").read_bytes()
    (old,) = certificates("old", str(Tsk.from_bytes(secret).extract_certificate()).encode())
    assert old.fingerprint == revoked.fingerprint
    for order in ([old, revoked], [revoked, old]):
        ask(database, "DELETE FROM postroom_key")
        for copy in order:
            directory.store.add_key("ada", [copy])
        ((kept,),) = ask(database, "SELECT armored FROM postroom_key")
        (found,) = certificates("kept", kept.encode())
        assert len(list(found.packets())) == len(list(revoked.packets()))


def test_a_row_that_is_no_key_is_left_out_and_told(opened: Open, database: str, caplog: pytest.LogCaptureFixture) -> None:
    """The other keys count, and no mail fails for it."""
    directory = opened()
    directory.store.put([ADA, BEN])
    directory.store.add_key("ada", [certificate("ed25519")])
    ask(database, "INSERT INTO postroom_key VALUES ('ben', repeat('B', 40), 'see attachment')")
    ask(database, "INSERT INTO postroom_key VALUES ('ben', repeat('C', 40), %s)", (KEYS / "secret" / "rsa.asc").read_text())
    keyring = watching(directory)
    directory.lookup(ASKED)
    assert keyring.reload() is True
    assert keyring.fingerprints() == {certificate("ed25519").fingerprint}
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert all("a key of account ben" in error for error in errors)
    assert "secret key" in errors[1]


def test_nobody_gets_a_key_who_is_not_there(opened: Open) -> None:
    store = opened().store
    with pytest.raises(Refused, match="there is no account 'ada'"):
        store.add_key("ada", [certificate("ed25519")])
    with pytest.raises(Refused, match="there is no account 'ada'"):
        store.remove_key("ada", "A" * 40)
    store.put([BEN])
    with pytest.raises(Refused, match="account 'ben' has no key AAAA"):
        store.remove_key("ben", "A" * 40)


# -- keys in tables of the user's --------------------------------------------------------------------------------------

KEYS_QUERY = "SELECT key, number AS id FROM pgp"
VERSIONED = """
    SELECT lower(email) AS address, number AS id, (SELECT max(changed) FROM pgp) AS keys_version
    FROM users WHERE lower(email) = ANY(%(addresses)s)
"""
PLAIN = "SELECT lower(email) AS address, number AS id FROM users WHERE lower(email) = ANY(%(addresses)s)"


def test_keys_of_the_users_tables_are_read_again_when_their_version_is_another(opened: Open, database: str) -> None:
    ask(database, OWN_TABLES)
    directory = opened(query=VERSIONED, keys_query=KEYS_QUERY)
    keyring = watching(directory)
    directory.lookup(ASKED)
    assert keyring.reload() is True
    assert keyring.fingerprints() == frozenset()
    ask(database, "INSERT INTO pgp (number, key) VALUES (1, %s)", (KEYS / "ed25519.asc").read_text())
    directory.lookup(ASKED)
    assert keyring.reload() is True
    assert keyring.fingerprints() == {certificate("ed25519").fingerprint}
    directory.lookup(ASKED)
    assert keyring.reload() is False


def test_keys_without_a_version_are_looked_at_every_few_seconds(opened: Open, database: str) -> None:
    """Compared, and parsed only where they differ; binary ones, too."""
    ask(database, OWN_TABLES)
    clock = [100.0]
    directory = opened(query=PLAIN, keys_query="SELECT decode(key, 'hex') AS key FROM pgp")
    keyring = Keyring()
    keyring.watch(DatabaseKeys(directory.keys, lambda: directory.keys_version, lambda: clock[0]))
    assert keyring.reload() is True
    ask(database, "INSERT INTO pgp (number, key) VALUES (1, %s)", certificate("ed25519").binary().hex())
    clock[0] += keys_module.ASK_EVERY - 1
    assert keyring.reload() is False
    clock[0] += 1
    assert keyring.reload() is True
    assert keyring.fingerprints() == {certificate("ed25519").fingerprint}
    clock[0] += keys_module.ASK_EVERY
    assert keyring.reload() is False


@pytest.mark.parametrize("query", ["SELECT 1 AS key", "SELECT 'x' AS armored", "SELECT key, print FROM pgp", "SELECT key FROM nowhere"])
def test_a_wrong_keys_query_is_one_line_that_names_the_setting(opened: Open, database: str, query: str) -> None:
    ask(database, OWN_TABLES)
    with pytest.raises(Fatal, match=r"^\[accounts\] keys_query: "):
        opened(query=PLAIN, keys_query=query).keys()
