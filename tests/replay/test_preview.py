"""The preview: what would become of recorded mails, by what was known then, by what is known now, and by other settings."""

import json
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from postroom.site import Site
from streams.log import Extent
from tests.acceptance.conftest import SAMPLE, MakePlace
from tests.acceptance.place import Letters, Place
from topology.openpgp import Keyring

DKIM = Path(__file__).parents[1] / "dkim" / "cases"
OPENPGP = Path(__file__).parents[1] / "openpgp"
INBOX = {"use": "maildir", "path": "inbox/", "domains": ["foo.com"]}


def preview(place: Place, *args: str, status: int) -> dict[str, Any]:
    """What `replay --json` says, and nothing of the log is changed by it."""
    before = records(place)
    (found,) = place.lines("replay", *args, status=status)
    assert records(place) == before
    return dict(found)


def records(place: Place) -> dict[str, list[Extent]]:
    """How much stands in each topic."""
    with closing(Site.at(place.folder / "postroom.toml")) as site:
        return {topic: site.log.extents(topic) for topic in site.log.topics() if topic.startswith(site.topics.prefix)}


def changes(found: dict[str, Any]) -> dict[str, int]:
    """The table: what it was, what it would be, how often."""
    return {f"{told(row['before'])} -> {told(row['after'])}": row["count"] for row in found["changes"]}


def told(word: dict[str, Any]) -> str:
    return f"handler:{word['handler']}" if word["status"] is None else " ".join(filter(None, (word["status"], word["reason"])))


def test_mail_that_was_handled_shows_no_difference(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX})
    place.imported([letter("1@foo.com"), letter("1@foo.com", fields="Precedence: bulk\n"), letter("1@nowhere.example")])
    place.drain()
    found = preview(place, status=0)
    assert changes(found) == {
        "handled -> handler:inbox": 1,
        "dropped precedence -> dropped precedence": 1,
        "failed no-handler -> failed no-handler": 1,
    }
    assert (found["mails"], found["deliveries"], found["differences"]) == (3, 3, 0)


def signed(make: MakePlace) -> tuple[Place, str]:
    """A mail that DKIM proved, to a handler that demands proof."""
    mail, zone = (DKIM / "002-rsa-2048.eml").read_bytes(), (DKIM / "002-rsa-2048.zone.json").read_text()
    received = tomllib.loads((DKIM / "002-rsa-2048.toml").read_text())["received_at"]
    author = next(line for line in mail.decode().splitlines() if line.startswith("From:")).rpartition("<")[2].strip("> ")
    place = make(
        handlers={"inbox": INBOX | {"require_strong": True}},
        accounts=[SAMPLE | {"addresses": [author.removeprefix("From: ")]}],
        sections={"authentication": {"trusted_domains": ["*"]}},
    )
    place.write("zone.json", zone)
    mail_id = place.mail(mail, "--received-at", received, "--recipient", "1@foo.com")
    place.drain()
    assert place.outcome(mail_id)["strength"] == "strong"
    return place, mail_id


def test_a_key_that_has_vanished_from_dns_since_judges_as_it_did_then_and_as_of_now_it_does_not(make: MakePlace) -> None:
    place, mail_id = signed(make)
    place.write("zone.json", "{}")
    assert changes(preview(place, status=0)) == {"handled -> handler:inbox": 1}
    found = preview(place, "--as-of", "now", status=1)
    assert changes(found) == {"handled -> returned strong-required": 1}
    assert found["changes"][0]["examples"] == [mail_id]


def test_an_account_that_has_been_closed_since_counts_as_it_did_then(make: MakePlace) -> None:
    place, _ = signed(make)
    place.write("accounts.toml", "")
    assert preview(place, status=0)["differences"] == 0
    assert changes(preview(place, "--as-of", "now", status=1)) == {"handled -> rejected unknown-sender": 1}


def test_other_settings_are_tried_on_recorded_mail(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX})
    place.imported([letter("1@foo.com", fields="Precedence: bulk\n"), letter("1@foo.com")])
    place.drain()
    settings = (place.folder / "postroom.toml").read_text()
    place.write("other.toml", settings + "[bounce_filter]\nrules = { precedence = false }\n")
    found = preview(place, "--settings", str(place.folder / "other.toml"), status=1)
    assert changes(found) == {"dropped precedence -> handler:inbox": 1, "handled -> handler:inbox": 1}
    assert found["differences"] == 1
    assert changes(preview(place, "--status", "handled", "--settings", str(place.folder / "other.toml"), status=0)) == {
        "handled -> handler:inbox": 1
    }


def test_each_delivery_of_a_mail_is_compared_with_its_own_outcome(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX})
    place.mail(letter("x@foo.com"), "--recipient", "1@foo.com", "--recipient", "2@foo.com", "--recipient", "3@gone.example")
    place.drain()
    assert changes(preview(place, status=0)) == {"handled -> handler:inbox": 2, "failed no-handler -> failed no-handler": 1}
    assert changes(preview(place, "--status", "failed", "--from", "handler", status=0)) == {"failed no-handler -> failed no-handler": 1}
    place.write("other.toml", (place.folder / "postroom.toml").read_text().replace('"foo.com"', '"gone.example"'))
    found = preview(place, "--settings", str(place.folder / "other.toml"), "--from", "routing", status=1)
    assert changes(found) == {"handled -> failed no-handler": 2, "failed no-handler -> handler:inbox": 1}


@pytest.mark.sqlite_only
def test_a_key_of_dkim_that_has_been_rotated_since_judges_as_it_did_then_and_as_of_now_it_does_not(make: MakePlace) -> None:
    """The same selector has another key now."""
    place, _ = signed(make)
    place.write("zone.json", (DKIM / "001-rsa-1024.zone.json").read_text())
    assert changes(preview(place, status=0)) == {"handled -> handler:inbox": 1}
    assert changes(preview(place, "--as-of", "now", status=1)) == {"handled -> returned strong-required": 1}


def openpgp(make: MakePlace, case: str, name: str) -> tuple[Place, Path]:
    """A mail signed with that key, to a handler that demands proof; the place, and the file of the key."""
    mail, key = (OPENPGP / "cases" / f"{case}.eml").read_bytes(), (OPENPGP / "keys" / f"{name}.asc").read_bytes()
    received = tomllib.loads((OPENPGP / "cases" / f"{case}.toml").read_text())["received_at"]
    (fingerprint,) = Keyring.of([("key", key)]).fingerprints()
    account = SAMPLE | {"addresses": ["test@example.org"], "fingerprints": [fingerprint]}
    place = make(handlers={"inbox": INBOX | {"require_strong": True}}, accounts=[account])
    held = place.folder / "keys" / "key.asc"
    held.write_bytes(key)
    place.mail(mail, "--received-at", received, "--sender", "test@example.org", "--recipient", "1@foo.com")
    place.drain()
    assert place.outcomes()[0]["strength"] == "strong"
    return place, held


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("case", "name"), [("45-expired-since", "expired"), ("47-superseded-since", "superseded")])
def test_a_key_of_openpgp_that_has_expired_or_was_superseded_since_judges_as_it_did_then_and_as_of_now_it_does_not(
    make: MakePlace, case: str, name: str
) -> None:
    place, _ = openpgp(make, case, name)
    assert changes(preview(place, status=0)) == {"handled -> handler:inbox": 1}
    assert changes(preview(place, "--as-of", "now", status=1)) == {"handled -> returned bad-signature": 1}


@pytest.mark.sqlite_only
def test_a_replay_as_of_now_counts_a_key_that_has_expired_since_as_expired(make: MakePlace) -> None:
    place, _ = openpgp(make, "45-expired-since", "expired")
    place.run("replay", "--status", "handled", "--redo", "--apply")
    place.drain()
    assert place.outcomes()[0]["status"] == "handled"
    place.run("replay", "--status", "handled", "--redo", "--as-of", "now", "--apply")
    place.drain()
    (row,) = place.outcomes()
    assert (row["reason"], row["generation"] > 1) == ("bad-signature", True)
    assert "since it signed" in row["detail"]
    place.fsck()


@pytest.mark.sqlite_only
def test_for_people_it_is_a_table_with_examples(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX})
    mail_id = place.mail(letter("1@foo.com", sender="stranger@example.net"))
    place.drain()
    place.write("other.toml", (place.folder / "postroom.toml").read_text() + "allow_unknown_senders = true\n")
    told_so = place.run("replay", "--settings", str(place.folder / "other.toml"), status=1).decode()
    assert "rejected, unknown-sender (inbox)  →  handler:inbox" in told_so
    assert f"postroom show {mail_id[:12]}" in told_so


@pytest.mark.sqlite_only
def test_a_log_without_outcomes_and_a_wrong_use_say_so(make: MakePlace) -> None:
    place = make(handlers={"inbox": INBOX})
    (nothing,) = place.lines("replay")
    assert nothing == {"mails": 0, "deliveries": 0, "gone": 0, "differences": 0, "changes": []}
    place.run("replay", "--from", "postman", status=2)
    place.run("replay", "--status", "lost", status=2)
    assert json.dumps("--status")[1:-1] in place.stderr


@pytest.mark.sqlite_only
def test_the_keyring_decides_as_it_did_then_whether_a_key_was_withdrawn_or_added_since(make: MakePlace) -> None:
    place, held = openpgp(make, "01-clear", "ed25519")
    signature, key = (OPENPGP / "cases" / "01-clear.eml").read_bytes(), held.read_bytes()
    received = tomllib.loads((OPENPGP / "cases" / "01-clear.toml").read_text())["received_at"]
    held.unlink()
    assert changes(preview(place, status=0)) == {"handled -> handler:inbox": 1}
    assert changes(preview(place, "--as-of", "now", status=1)) == {"handled -> returned bad-signature": 1}

    place.mail(signature, "--received-at", received, "--sender", "test@example.org", "--recipient", "2@foo.com")
    place.drain()
    held.write_bytes(key)
    second = ("--recipient", "2@foo.com", "--status", "returned")
    assert preview(place, *second, status=0)["mails"] == 1
    assert changes(preview(place, *second, "--as-of", "now", status=1)) == {"returned bad-signature -> handler:inbox": 1}
