"""Each command line, port, volume and variable of docker-compose.yml exists in the program."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
from typer.core import TyperGroup

from postroom.cli import app
from postroom.roles import Roles
from postroom.settings import HandlerSettings, Settings
from postroom.site import Site
from streams.kafka.slots import VARIABLE
from tests.compose.compose import CLONE, HOME, Service, document, ours, services

EVERY = pytest.mark.parametrize("service", services().values(), ids=lambda service: service.name)
OURS = pytest.mark.parametrize("service", ours(), ids=lambda service: service.name)


def parsed(command: list[str]) -> tuple[str, dict[str, Any]]:
    """The command's name and its parameters, as the program reads them; nothing is run. Raises what the command line raises."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    parent = group.make_context("postroom", list(command))
    name, *rest = command
    found = group.get_command(parent, name)
    assert found, name
    return name, found.make_context(name, rest, parent=parent).params


def site_of(service: Service, root: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The installation as the service's container has it."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return Site.at(service.lay_out(root) / "postroom.toml")


@OURS
def test_a_command_line_is_one_of_the_program(service: Service) -> None:
    assert parsed(service.command)
    with pytest.raises(Exception, match="No such option"):
        parsed([*service.command, "--no-such-option"])


@OURS
def test_the_roles_that_it_names_can_be_made_from_the_settings_that_it_mounts(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(service, tmp_path, monkeypatch)
    name, params = parsed(service.command)
    if name == "run":
        assert Roles(site, params["roles"], drain=False).names == params["roles"]
    else:
        assert (name, params["create"]) == ("topics", True)
        assert site.topic_specs()


def test_together_they_run_every_role_and_no_slot_twice() -> None:
    runs = [params for name, params in (parsed(service.command) for service in ours()) if name == "run"]
    assert {role for run in runs for role in run["roles"]} == {"lmtp", "chain", "handler:bugs", "replyer", "postman"}
    slots = [run["slot"] for run in runs]
    assert len(slots) == len(set(slots))
    assert None not in slots


@OURS
def test_a_variable_is_a_key_of_the_settings(service: Service) -> None:
    for name in service.environment:
        assert name == VARIABLE or known(name.removeprefix("POSTROOM_").lower().split("__")), name


def known(path: list[str]) -> bool:
    """Whether the settings have such a key."""
    section, *keys = path
    field = Settings.model_fields.get(section)
    if field is None:
        return False
    if section == "handlers":
        return len(keys) == 2 and keys[1] in HandlerSettings.model_fields
    kind = field.annotation
    return len(keys) == 1 and isinstance(kind, type) and keys[0] in getattr(kind, "model_fields", {})


def test_a_variable_that_is_no_key_would_be_noticed() -> None:
    assert known(["log", "url"])
    assert not known(["log", "uri"])
    assert not known(["nothing", "url"])
    assert not known(["handlers", "bugs", "data"])


@EVERY
def test_a_mounted_file_is_there_and_a_volume_is_declared(service: Service) -> None:
    for source, target in service.mounts:
        assert (CLONE / source).is_file() if source.startswith(".") else source in document()["volumes"], source
        assert target.is_absolute()


def test_every_volume_is_used() -> None:
    assert set(document()["volumes"]) == {source for service in services().values() for source, _ in service.mounts if source[0] != "."}


@OURS
def test_what_is_written_lies_in_volumes(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = site_of(service, tmp_path, monkeypatch).settings
    targets = {str(target.relative_to(HOME)) for source, target in service.mounts if source[0] != "."}
    assert targets == {settings.archive.url.removeprefix("file:").rstrip("/"), str(settings.oops.path)}


def test_ports_and_hosts_are_those_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = services()
    settings = site_of(every["lmtp"], tmp_path, monkeypatch).settings
    assert settings.ingest.lmtp is not None
    assert [inside for _, _, inside in every["lmtp"].ports] == [int(settings.ingest.lmtp.rpartition(":")[2])]
    kafka = urlsplit(settings.log.url)
    assert f"PLAINTEXT://{kafka.netloc}" == every[str(kafka.hostname)].environment["KAFKA_ADVERTISED_LISTENERS"]
    assert f"PLAINTEXT://:{kafka.port}" in every["kafka"].environment["KAFKA_LISTENERS"].split(",")
    database = urlsplit(str(settings.handlers["bugs"].database))
    postgres = every[str(database.hostname)].environment
    assert (database.username, database.password, database.path) == (
        postgres["POSTGRES_USER"],
        postgres["POSTGRES_PASSWORD"],
        "/" + postgres["POSTGRES_DB"],
    )
    assert settings.replies.smtp is not None
    assert urlsplit(settings.replies.smtp).hostname in every


@EVERY
def test_only_the_loopback_of_the_host_is_listened_on(service: Service) -> None:
    assert {host for host, _, _ in service.ports} <= {"127.0.0.1"}


@EVERY
def test_who_is_waited_for_exists(service: Service) -> None:
    for name, how in service.document.get("depends_on", {}).items():
        other = services()[name]
        if how["condition"] == "service_healthy":
            assert "healthcheck" in other.document
        else:
            assert (how["condition"], other.document["restart"]) == ("service_completed_successfully", "no")


@EVERY
def test_an_image_has_a_version(service: Service) -> None:
    assert service.ours or re.fullmatch(r"(?:[a-z]+/)?[a-z]+:v?\d[\d.]*", service.document["image"])
