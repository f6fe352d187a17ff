"""E5, and the accounts on PostgreSQL, on the whole program: what an operator types, and what becomes of mails."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest

from postroom.cli import main
from tests.acceptance.conftest import SAMPLE, MakePlace
from tests.acceptance.place import Letters, Place
from tests.acceptance.test_authentication import OPENPGP, fingerprints
from tests.database import Server
from tests.directory.people import OWN_QUERY, OWN_TABLES, ask

pytestmark = pytest.mark.postgres

INBOX = {"use": "maildir", "path": "inbox/", "domains": ["foo.com"]}
RECEIVED = ("--received-at", "2026-01-10T12:05:00Z", "--recipient", "a@foo.com")


def placed(make: MakePlace, database: str, **settings: Any) -> Place:
    """A place whose accounts are in a database."""
    return make(handlers={"inbox": INBOX}, sections={"accounts": {"postgresql": database} | settings})


def wait_for(process: "subprocess.Popen[bytes]", words: bytes) -> None:
    """Until the process has logged that."""
    assert process.stderr
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended without saying {words!r}")


def test_e5_while_the_accounts_are_away_the_chain_waits_and_then_goes_on(
    make: MakePlace, letter: Letters, database: str, postgres: Server
) -> None:
    """Mails keep coming in meanwhile; nothing fails, and nobody is written to."""
    place = placed(make, database)
    place.run("accounts", "add", "sample", "--address", "test@canonical.com")
    place.mail(letter("1@foo.com"))
    running = subprocess.Popen(place.command("run"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: len(place.outcomes()) == 1)
        postgres.stop()
        place.imported([letter(f"{number}@foo.com") for number in range(2, 8)])
        wait_for(running, b"waits, because accounts: ")
        place.imported([letter(f"{number}@foo.com", "stranger@nowhere.example") for number in range(8, 12)])
        assert len(place.outcomes()) == 1
        assert len(place.lines("list", "--pending")) == 10
        postgres.start()
        wait_for(running, b"accounts is back; going on")
        until(lambda: len(place.outcomes()) == 11)
    finally:
        running.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            running.communicate(timeout=60)
        running.kill()
    words = [(row["status"], row["reason"]) for row in place.outcomes()]
    assert sorted(words, key=str) == [("handled", None)] * 7 + [("rejected", "unknown-sender")] * 4
    assert len(place.maildir("inbox")) == 7
    assert place.outbox() == []
    assert place.fsck()["doubled"] == 0


def until(true: Any) -> None:
    """Asks until it is so."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline


def test_e5_a_start_while_the_accounts_are_away_waits_too(make: MakePlace, letter: Letters, database: str, postgres: Server) -> None:
    """A drain gives up with 75 and has touched nothing; so do check and the commands."""
    place = placed(make, database)
    place.run("accounts", "add", "sample", "--address", "test@canonical.com")
    place.mail(letter("1@foo.com"))
    postgres.stop()
    place.run("run", "--drain", "--patience", "1", status=75)
    assert "waits, because accounts: " in place.stderr
    for command in (["check"], ["accounts", "list"], ["accounts", "deactivate", "sample"]):
        place.run(*command, status=75)
    postgres.start()
    assert place.outcomes() == []
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"]


def said(place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[object, str, str]:
    """The command line, run in this process because there are many: exit status, standard output, standard error."""
    monkeypatch.setattr("sys.argv", place.command(*arguments))
    monkeypatch.setattr("sys.stderr", sys.stderr)  # which the console script replaces
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0, *capfd.readouterr()


@pytest.mark.sqlite_only
def test_an_account_comes_gets_a_key_and_goes(
    make: MakePlace, database: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = placed(make, database)
    mail = (OPENPGP / "cases" / "01-clear.eml").read_bytes()
    signed = iter([mail.replace(b"Subject: ", b"Subject: %d" % number, 1) for number in range(3)])
    print_ = fingerprints()["ed25519"]

    def done(*arguments: str) -> str:
        code, output, error = said(place, capfd, monkeypatch, "accounts", *arguments)
        assert code == 0, error
        return output

    def strength() -> tuple[str, str | None, str | None]:
        mail_id = place.mail(next(signed), *RECEIVED)
        place.drain()
        row = place.outcome(mail_id)
        return row["status"], row["reason"], row["strength"]

    place.run("run", "--drain", status=2)
    assert "postroom accounts migrate" in place.stderr
    assert done("migrate") == "the tables have version 1, and had 0\n"
    done("add", "ada", "--name", "Ada L.", "--address", "Test@Example.ORG", "--address", "ada@foo.com", "--require-strong")
    done("add-key", "ada", str(OPENPGP / "keys" / "ed25519.asc"))
    ada = {"id": "ada", "name": "Ada L.", "active": True, "addresses": ["ada@foo.com", "test@example.org"]}
    ada |= {"fingerprints": [print_], "require_strong": True}
    assert json.loads(done("list", "--json")) == ada
    for name in ("ada", "test@example.ORG"):
        assert json.loads(done("show", name, "--json")) == ada | {"keys": [print_]}
    assert "ada" in done("list")
    assert strength() == ("handled", None, "strong")
    assert done("remove-key", "ada", print_.lower()) == f"removed from ada: {print_}\n"
    assert strength() == ("returned", "bad-signature", "weak")
    assert done("deactivate", "ada") == "ada is inactive\n"
    assert strength() == ("rejected", "inactive-account", "weak")
    assert [done(word, "ada") for word in ("deactivate", "activate")] == ["ada is already inactive\n", "ada is active\n"]


@pytest.mark.sqlite_only
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(
    make: MakePlace, database: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = placed(make, database)
    people = str(place.write("people.toml", PEOPLE))
    for told in ("2 accounts: 2 new, 0 as the file says now\n", "2 accounts: 0 new, 2 as the file says now\n"):
        assert said(place, capfd, monkeypatch, "accounts", "import", people)[:2] == (0, told)
    before = said(place, capfd, monkeypatch, "accounts", "list", "--json")
    clash = place.write("clash.toml", '[[account]]\nid = "eve"\naddresses = ["eve@x.example", "ada@x.example"]\n')
    broken = place.write("broken.toml", '[[account]]\nid = "eve"\nadresses = ["eve@x.example"]\n')
    for arguments, status, words in (
        (["import", str(clash)], 1, "ada@x.example belongs to account 'ada' already"),
        (["import", str(broken)], 2, "broken.toml: account 1, adresses: unknown key"),
        (["import", str(place.folder / "none.toml")], 2, "none.toml"),
        (["add", "ada", "--address", "new@x.example"], 1, "there is an account 'ada' already"),
        (["add", "eve", "--address", "ben@x.example"], 1, "ben@x.example belongs to account 'ben' already"),
        (["add", "eve", "--address", "nonsense"], 2, "'nonsense' is no mail address"),
        (["add", ""], 2, "the id is empty"),
        (["deactivate", "eve"], 1, "there is no account 'eve'"),
        (["show", "eve"], 1, "there is no account of that id or address: eve"),
        (["add-key", "ada", str(OPENPGP / "keys" / "secret" / "rsa.asc")], 1, "holds a secret key"),
        (["add-key", "ada", str(place.folder / "zone.json")], 1, "no OpenPGP public key"),
        (["add-key", "ada", str(place.folder / "none.asc")], 2, "cannot be read"),
        (["add-key", "eve", str(OPENPGP / "keys" / "rsa.asc")], 1, "there is no account 'eve'"),
        (["remove-key", "ada", "cafe"], 2, "'cafe' is no OpenPGP fingerprint"),
        (["remove-key", "ada", "A" * 40], 1, "account 'ada' has no key"),
    ):
        code, _, error = said(place, capfd, monkeypatch, "accounts", *arguments)
        assert (code, words in error) == (status, True), error
    assert said(place, capfd, monkeypatch, "accounts", "list", "--json") == before
    ask(database, "UPDATE postroom_directory SET version = 99")
    for command in (["accounts", "list"], ["accounts", "migrate"], ["check"], ["run", "--drain"]):
        code, output, error = said(place, capfd, monkeypatch, *command)
        assert (code, "version 99; this program knows 1: upgrade postroom" in output + error) == (2, True), output + error


PEOPLE = """
[[account]]
id = "ada"
addresses = ["ada@x.example"]

[[account]]
id = "ben"
addresses = ["ben@x.example"]
active = false
"""


@pytest.mark.sqlite_only
def test_accounts_in_a_file_are_listed_and_shown_and_changed_in_the_file(
    make: MakePlace, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(handlers={"inbox": INBOX})
    assert [(line["id"], line["active"]) for line in place.lines("accounts", "list")] == [("gone", False), ("sample", True)]
    for name in ("sample", SAMPLE["addresses"][0]):
        assert place.lines("accounts", "show", name)[0] == SAMPLE | {
            "active": True,
            "fingerprints": [],
            "require_strong": False,
            "keys": [],
        }
    assert said(place, capfd, monkeypatch, "accounts", "show", "nobody")[0] == 1
    for arguments in (["add", "x"], ["import", "x"], ["deactivate", "x"], ["activate", "x"], ["add-key", "x", "x"], ["migrate"]):
        code, _, error = said(place, capfd, monkeypatch, "accounts", *arguments)
        assert (code, error) == (2, f"postroom: the accounts are in a file: edit {place.folder / 'accounts.toml'}\n")


@pytest.mark.sqlite_only
def test_tables_of_the_users_own_are_asked_and_never_changed(
    make: MakePlace, letter: Letters, database: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(database, OWN_TABLES)
    place = placed(make, database, query=OWN_QUERY, keys_query="SELECT key FROM pgp")
    senders = ["ADA@north.example", "ben@south.example", "eve@nowhere.example"]
    ids = [line["mail_id"] for line in place.imported([letter("a@foo.com", sender) for sender in senders])]
    place.drain()
    assert [place.word(id_) for id_ in ids] == [("handled", None), ("rejected", "inactive-account"), ("rejected", "unknown-sender")]
    assert place.outcome(ids[0])["account"] == "1"
    assert place.lines("accounts", "show", "ada@north.example")[0]["fingerprints"] == ["A" * 40, "B" * 40]
    assert said(place, capfd, monkeypatch, "accounts", "show", "eve@nowhere.example")[0] == 1
    for arguments in (["list"], ["show", "1"], ["add", "x"], ["migrate"], ["deactivate", "1"]):
        code, _, error = said(place, capfd, monkeypatch, "accounts", *arguments)
        assert (code, "the accounts are in your own tables" in error) == (2, True)
    assert ask(database, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'postroom%'") == [(0,)]


@pytest.mark.sqlite_only
def test_one_impossible_account_fails_its_own_mails_alone(make: MakePlace, letter: Letters, database: str) -> None:
    ask(database, OWN_TABLES + "; INSERT INTO users VALUES (4, 'double', 'ben@south.example', NULL)")
    place = placed(make, database, query=OWN_QUERY)
    senders = ["ada@north.example", "ben@south.example", "ada@north.example"]
    ids = [line["mail_id"] for line in place.imported([letter(f"{number}@foo.com", sender) for number, sender in enumerate(senders)])]
    place.drain()
    assert [place.word(id_) for id_ in ids] == [("handled", None), ("failed", "stage-error"), ("handled", None)]
    assert "ben@south.example belongs to two accounts" in place.outcome(ids[1])["detail"]


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"query": "SELECT 1"}, "[accounts] query: it must say %(addresses)s"),
        ({"query": "SELECT '50%' = ANY(%(addresses)s)"}, "[accounts] query: it may say no %(…)s but %(addresses)s; write %%"),
        ({"query": "SELECT 1 AS id WHERE '' = ANY(%(addresses)s)"}, "[accounts] query: it gives no column address"),
        ({"query": OWN_QUERY, "keys_query": "SELECT 1"}, "[accounts] keys_query: it is to give the column key"),
        ({"keys_query": "SELECT 1"}, "[accounts]: keys_query goes with a query"),
        ({"postgresql": "postgresql://u:hunter2/x@localhost/db"}, "[accounts] postgresql: "),
    ],
)
def test_a_wrong_setting_stops_the_start_and_touches_no_mail(
    make: MakePlace, letter: Letters, database: str, settings: dict[str, str], words: str
) -> None:
    """One line that names the setting, from `run` and from `check`, and never the password."""
    ask(database, OWN_TABLES)
    place = placed(make, database, **settings)
    for command in (["run", "--drain"], ["check"]):
        said = place.run(*command, status=2).decode() + place.stderr
        assert words in said
        assert "hunter2" not in said
        assert "Traceback" not in said
    assert not (place.folder / "postroom.db").exists()


@pytest.mark.sqlite_only
def test_the_address_of_the_database_may_come_from_the_environment_and_is_shown_without_its_password(
    make: MakePlace, letter: Letters, database: str
) -> None:
    place = make(handlers={"inbox": INBOX})
    env = {"POSTROOM_ACCOUNTS__POSTGRESQL": database.replace("postgres@", "postgres:hunter2@")}
    place.run("accounts", "add", "sample", "--address", "test@canonical.com", env=env)
    found = [json.loads(line) for line in place.run("check", "--json", env=env).splitlines()]
    accounts = [(line["state"], line["words"]) for line in found if line["what"] == "accounts"]
    assert accounts == [
        ("ok", f"{database}: 1 accounts, 1 addresses"),
        ("odd", "[accounts] file: accounts.toml is not read, because postgresql is given"),
    ]
    place.mail(letter("1@foo.com"))
    log = place.stderr
    for database_url in (env["POSTROOM_ACCOUNTS__POSTGRESQL"], "postgresql://u:hunter2@127.0.0.1:1/db"):
        for command in (["check"], ["--log-level", "debug", "run", "--drain", "--patience", "0"]):
            log += place.run(*command, env={"POSTROOM_ACCOUNTS__POSTGRESQL": database_url}, status=None).decode() + place.stderr
    assert "hunter2" not in log
    assert "127.0.0.1" in log
