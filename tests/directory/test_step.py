"""The authentication stage on the directory: one query a batch, and keys that cannot be read harm nobody."""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from postroom.directory.keys import DatabaseKeys
from postroom.zone import ZoneResolver
from streams.record import Record
from tests.database import Server
from tests.directory.conftest import Open
from tests.directory.people import ADA, ask
from tests.directory.test_keys import certificate
from tests.openpgp.conftest import KEYS
from topology.authentication import AuthenticationStep
from topology.facts import Facts
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.item import Item
from topology.openpgp import Keyring
from topology.proofs import Policy
from topology.records import Topics

READER = HeadReader()
NOW_MS = 1_767_225_600_000


def item(sender: str) -> Item:
    """A mail on its way into the stage."""
    mail = f"From: {sender}\nTo: a@foo.com\nSubject: hello\n\nhello\n".encode()
    return Item(Record("mail.screened", 0, 0, NOW_MS, None, mail), Facts(foreign_envelope(mail, NOW_MS, READER)), mail, READER)


def step(directory: Any, keyring: Keyring, folder: Path) -> AuthenticationStep:
    """The stage, with a zone that is empty."""
    (folder / "zone.json").write_text("{}")
    resolver = ZoneResolver(folder / "zone.json")
    return AuthenticationStep(Topics("mail"), READER, None, directory, resolver, keyring, Policy(), lambda: NOW_MS)  # type: ignore[arg-type]


@pytest.mark.postgres
def test_a_batch_of_500_senders_makes_one_query(opened: Open, database: str, postgres: Server, tmp_path: Path) -> None:
    """Counted at the server, which logs every statement that it gets; whether the keys changed comes with the answer."""
    directory, keyring = opened(), Keyring()
    keyring.watch(DatabaseKeys(directory.keys, lambda: directory.keys_version))
    directory.store.put([ADA])
    directory.store.add_key("ada", [certificate("ed25519")])
    ask(database, "INSERT INTO postroom_account SELECT 'p' || n, 'P' FROM generate_series(0, 499) n")
    ask(database, "INSERT INTO postroom_address SELECT 'p' || n || '@north.example', 'p' || n FROM generate_series(0, 499) n")
    ask(database, "ALTER DATABASE " + database.rpartition("/")[2] + " SET log_statement = 'all'")
    stage = step(directory, keyring, tmp_path)
    stage.prepare([item("p1@north.example")])
    assert keyring.fingerprints() == {certificate("ed25519").fingerprint}
    ours = ask(database, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    log = Path(postgres.folder, "server.log")
    before = log.stat().st_size
    known = stage.prepare([item(f"p{number}@north.example") for number in range(500)])
    assert len(known.accounts) == 500
    said = log.read_bytes()[before:].decode()
    statements = [process for process in re.findall(r"\[(\d+)\] LOG:  statement: ", said) if (int(process),) in ours]
    assert len(statements) == 1


def test_a_key_file_that_cannot_be_read_keeps_no_mail_from_being_judged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, the other keys count, and what comes later is seen."""

    class Everybody:
        def lookup(self, addresses: Any) -> Any:
            return dict.fromkeys(addresses, ADA)

    shutil.copy(KEYS / "ed25519.asc", tmp_path)
    keyring = Keyring.load(tmp_path)
    stage = step(Everybody(), keyring, tmp_path)
    (tmp_path / "half.asc").write_bytes((KEYS / "rsa.asc").read_bytes()[:300])
    for _ in range(3):
        assert stage.prepare([item("ada@north.example")]).accounts
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "half.asc" in told[0]
    assert keyring.fingerprints() == {certificate("ed25519").fingerprint}
    shutil.copy(KEYS / "rsa.asc", tmp_path / "half.asc")
    stage.prepare([item("ada@north.example")])
    assert len(keyring.fingerprints()) == 2
