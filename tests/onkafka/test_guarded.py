"""A broker that asks for a name, a password and rights, over TLS: what gets in, what is refused and how, and that no secret is told."""

import smtplib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.place import Letters
from tests.broker.broker import free_port
from tests.broker.shared import demand
from tests.onkafka.conftest import MakePlace
from tests.onkafka.guarded import PASSWORDS, Guarded, guarded
from tests.onkafka.test_faults import said
from tests.onkafka.waiting import lmtp

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}


@pytest.fixture(scope="module")
def broker() -> Iterator[Guarded]:
    """The broker of these tests."""
    demand()
    with guarded() as made:
        yield made


@pytest.fixture
def prefix() -> str:
    """A site of one's own."""
    return f"site-{uuid.uuid4().hex[:8]}"


def settings(broker: Guarded, prefix: str, user: str, password: str | None = None, **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of the settings for somebody."""
    return {"log": {"prefix": prefix}, "log.kafka": broker.client(user, password), "log.topics": {"partitions": 2}, **more}


def rights(broker: Guarded, user: str, prefix: str, *, writing: bool) -> None:
    """What docs/kafka.md says that postroom needs."""
    if writing:
        broker.allow(user, "topic", f"{prefix}.", "read", "write", "create", "describe_configs")
        broker.allow(user, "transactional_id", f"postroom.{prefix}", "write")
    else:
        broker.allow(user, "topic", f"{prefix}.", "read", "describe_configs")
    broker.allow(user, "group", f"postroom.{prefix}.", "read")
    broker.allow(user, "group", "postroom-reader", "read")


def test_with_the_rights_that_the_page_names_everything_works(broker: Guarded, prefix: str, make: MakePlace, letter: Letters) -> None:
    rights(broker, "worker", prefix, writing=True)
    place = make(broker.address, handlers={"foo": FOO}, sections=settings(broker, prefix, "worker"))
    place.imported([letter(f"{number}@foo.com") for number in range(5)])
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"] * 5
    for command in ("topics", "lag", "fsck", "check"):
        place.run(command)


def test_a_wrong_password_is_one_line_and_ingest_asks_to_try_again(broker: Guarded, prefix: str, make: MakePlace) -> None:
    place = make(broker.address, handlers={"foo": FOO}, sections=settings(broker, prefix, "worker", "wrong-sesame"))
    for command, status in ((["run", "--drain"], 2), (["pipe"], 75)):
        place.run(*command, data=b"From: test@canonical.com\nTo: 1@foo.com\n\n", status=status)
        assert "Authentication failed" in said(place)
        assert "[log" in said(place)


def test_who_has_no_rights_is_told_what_was_refused(broker: Guarded, prefix: str, make: MakePlace) -> None:
    place = make(broker.address, handlers={"foo": FOO}, sections=settings(broker, prefix, "stranger"))
    place.run("run", "--drain", status=2)
    assert "AUTHORIZATION_FAILED" in said(place)
    assert f"topic {prefix}." in said(place)
    for command in ("list", "fsck"):
        place.run(command)
        assert "or we may not see them" in said(place)
    place.run("pipe", data=b"From: test@canonical.com\nTo: 1@foo.com\n\n", status=75)
    assert "AUTHORIZATION_FAILED" in said(place)


@pytest.mark.parametrize("runtime", ["runner", "faust"])
def test_a_handler_whose_group_is_refused_ends_with_a_line(
    broker: Guarded, prefix: str, make: MakePlace, letter: Letters, runtime: str
) -> None:
    rights(broker, "worker", prefix, writing=True)
    handler = {"use": "python", "python": "h:handle", "domains": ["h.org"], "allow_unknown_senders": True, "runtime": runtime}
    code = {"h.py": f"{'async ' * (runtime == 'faust')}def handle(mail):\n    pass\n"}
    place = make(broker.address, handlers={"h": handler}, sections=settings(broker, prefix, "worker"), code=code)
    mail = place.mail(letter("1@h.org"))
    place.run("run", "chain", "--drain")
    broker.deny("worker", "group", f"postroom.{prefix}.handler.h", "read")
    place.run("run", "handler:h", "--drain", "--patience", "5s", status=2)
    assert "GroupAuthorizationFailed" in said(place) or "GROUP_AUTHORIZATION_FAILED" in said(place)
    assert f"postroom.{prefix}.handler.h" in said(place)
    assert "[log.kafka] needs a right" in said(place)
    assert place.outcomes() == []
    assert place.lines("list", "--pending", "--json")[0]["mail_id"] == mail


def test_who_may_read_only_can_look_and_its_ingest_loses_nothing(broker: Guarded, prefix: str, make: MakePlace, letter: Letters) -> None:
    port = free_port()
    place = make(broker.address, handlers={"foo": FOO}, sections=settings(broker, prefix, "admin", ingest={"lmtp": f"127.0.0.1:{port}"}))
    first = place.mail(letter("1@foo.com"))
    rights(broker, "reader", prefix, writing=False)
    written = (place.folder / "postroom.toml").read_text()
    place.write("postroom.toml", written.replace('"admin"', '"reader"').replace(PASSWORDS["admin"], PASSWORDS["reader"]))
    for command in ("topics", "lag", "fsck"):
        place.run(command)
    mail = letter("2@foo.com")
    place.run("pipe", data=mail.encode(), status=75)
    assert "AUTHORIZATION_FAILED" in said(place)
    assert "appending" in said(place)
    running = place.start("run", "lmtp")
    try:
        with lmtp(port) as client, pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("test@canonical.com", ["2@foo.com"], mail)
        assert refused.value.smtp_code == 451
    finally:
        running.terminate()
        running.wait(60)
    place.write("postroom.toml", written)
    second = place.mail(mail)
    place.drain()
    assert {row["mail_id"] for row in place.outcomes()} == {first, second}
    assert place.fsck()["raw"] == 2


def test_a_certificate_that_nobody_vouches_for_is_one_line(broker: Guarded, prefix: str, make: MakePlace) -> None:
    keys = {key: value for key, value in broker.client("worker").items() if key != "ssl.ca.location"}
    place = make(broker.address, handlers={"foo": FOO}, sections=settings(broker, prefix, "worker") | {"log.kafka": keys})
    place.run("topics", status=75)
    assert "certificate" in said(place)


SECRETS = {
    "sasl.password": "planted-sasl-1",
    "ssl.key.password": "planted-key-2",
    "ssl.keystore.password": "planted-store-3",
    "sasl.oauthbearer.client.secret": "planted-oauth-4",
}


def test_no_secret_of_the_settings_is_ever_told(broker: Guarded, prefix: str, make: MakePlace, letter: Letters, tmp_path: Path) -> None:
    """At the loudest, librdkafka included, with parts that are away and settings that are refused."""
    bugs = {"use": "python", "python": "h:handle", "domains": ["h.org"], "database": "postgresql://u:planted-db-5@127.0.0.1:1/x"}
    sections = settings(broker, prefix, "worker") | {"replies": {"outbox": "", "smtp": "smtp://user:planted-smtp-6@127.0.0.1:1"}}
    sections["log.kafka"] |= SECRETS | {"debug": "security,broker,conf"}
    place = make(broker.address, handlers={"foo": FOO, "h": bugs}, sections=sections, code={"h.py": "def handle(mail): pass\n"})
    text = (place.folder / "postroom.toml").read_text().replace('outbox = ""\n', "")
    place.write("postroom.toml", text)
    told = b""

    def tell(*command: str) -> None:
        nonlocal told
        told += place.run("--log-level", "debug", *command, data=letter("1@h.org").encode(), status=None) + place.stderr.encode()

    for command in (["check"], ["pipe"], ["run", "--drain", "--patience", "1s"]):
        tell(*command)
    # Neither a value that is refused is repeated, nor what stands beside it.
    for old, new in (
        ('url = "kafka://', 'url = "kafka://u:planted-url-8@'),
        ('url = "kafka://', 'url = "postgresql://u:planted-url-8@'),
        ("sasl.password", "sasl.passwort"),
        ("postgresql://u", "postgresql//u"),
        ("smtp://user", "smpt://user"),
    ):
        place.write("postroom.toml", text.replace(old, new))
        tell("check")
    assert place.status == 2
    assert b"planted" not in told, [line for line in told.split(b"\n") if b"planted" in line]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "postroom.toml"]
    assert [path for path in written if b"planted" in path.read_bytes()] == []
