"""Starting, stopping and setting up the program; settings that are wrong."""

import os
import signal
import smtplib
import socket
import time

import pytest

from tests.acceptance.conftest import SAMPLE, MakePlace
from tests.acceptance.place import Letters
from tests.broker.broker import free_port

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}


def test_lmtp_takes_mails_while_everything_runs_and_stops_in_good_order(make: MakePlace, letter: Letters) -> None:
    port = free_port()
    place = make(handlers={"foo": FOO}, sections={"ingest": {"lmtp": f"127.0.0.1:{port}"}})
    running = place.start("run")
    try:
        client = _lmtp(port)
        refused = client.sendmail("test@canonical.com", ["1@foo.com", "2@foo.com"], letter("1@foo.com"))
        assert refused == {}
        client.quit()
        deadline = time.monotonic() + 120
        while len(place.maildir("foo")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(120) == 0
    assert {row["recipient"] for row in place.outcomes()} == {"1@foo.com", "2@foo.com"}
    assert place.outcomes()[0]["envelope_sender"] == "test@canonical.com"


def _lmtp(port: int) -> smtplib.LMTP:
    for _ in range(2400):
        try:
            return smtplib.LMTP("127.0.0.1", port)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the listener did not come up")


BAD_SETTINGS = [
    ("[log]\nurl = 3\n", "url"),
    ("[log\n", "TOML"),
    ("[log]\nurll = 'x'\n", "did you mean url?"),
    ("[handlers.x]\nuse = 'maildir'\npath = 'x/'\n", "domains"),
    ("[handlers.x]\nuse = 'python'\npython = 'nowhere:handle'\ndomains = ['x.org']\n", "nowhere"),
    ("[handlers.x]\nuse = 'webhook'\nurl = 'https://x.org/'\ndomains = ['x.org']\n", "not built yet"),
    ("[accounts]\nkeys = 'no-such-folder/'\n", "no-such-folder"),
    ("[accounts]\nfile = 'none.toml'\n", "none.toml"),
]


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("settings", "word"), BAD_SETTINGS)
def test_a_wrong_setting_is_one_clear_line_and_touches_nothing(make: MakePlace, settings: str, word: str) -> None:
    place = make()
    place.write("postroom.toml", settings)
    before = sorted(os.listdir(place.folder))
    place.run("run", "--drain", status=2)
    assert word in place.stderr
    assert len(place.stderr.strip().splitlines()) == 1
    assert sorted(os.listdir(place.folder)) == before


@pytest.mark.sqlite_only
def test_an_address_of_two_accounts_is_refused(make: MakePlace) -> None:
    place = make(accounts=[SAMPLE, SAMPLE | {"id": "other", "addresses": ["TEST@canonical.com"]}])
    place.run("run", "--drain", status=2)
    assert "test@canonical.com belongs to two accounts" in place.stderr


@pytest.mark.sqlite_only
def test_a_port_in_use_is_one_clear_line_and_touches_nothing(make: MakePlace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = make(handlers={"foo": FOO}, sections={"ingest": {"lmtp": f"127.0.0.1:{taken.getsockname()[1]}"}})
        before = sorted(os.listdir(place.folder))
        place.run("run", "lmtp", status=2)
    assert "[ingest] lmtp" in place.stderr
    assert len(place.stderr.strip().splitlines()) == 1
    assert sorted(os.listdir(place.folder)) == before


@pytest.mark.sqlite_only
def test_a_role_that_is_not_built_yet_exits_2_and_says_so(make: MakePlace) -> None:
    place = make()
    place.run("run", "dashboard", status=2)
    assert "not built yet" in place.stderr


def test_missing_topics_of_a_new_handler_are_named_and_made_on_demand(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("1@foo.com"))
    with (place.folder / "postroom.toml").open("a") as file:
        file.write('[handlers.more]\nuse = "maildir"\npath = "more/"\ndomains = ["more.com"]\n')
    place.run("run", "--drain", status=2)
    assert "routed.more" in place.stderr
    place.run("topics", "--create")
    place.mail(letter("1@more.com"))
    place.drain()
    assert sorted(row["handler"] for row in place.outcomes()) == ["foo", "more"]


@pytest.mark.sqlite_only
def test_init_writes_settings_that_check_accepts(make: MakePlace) -> None:
    place = make()
    for name in ("postroom.toml", "accounts.toml"):
        (place.folder / name).unlink()
    place.run("init")
    place.run("check")
    place.run("init", status=2)
    assert "is there already" in place.stderr


@pytest.mark.sqlite_only
def test_check_names_what_is_wrong(make: MakePlace) -> None:
    place = make(handlers={"h": {"use": "command", "command": ["/no/such/program"], "domains": ["h.org"]}})
    place.run("check", status=2)
    lines = place.lines("check", status=2)
    assert [line["what"] for line in lines if line["state"] == "wrong"] == ["handlers"]
