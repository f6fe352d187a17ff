"""Where `runtime = "faust"` may stand, and what the settings make of it."""

from pathlib import Path

import pytest

from handlers.registry import HandlerSettingsError
from postroom.roles import Roles, UnknownRole
from postroom.settings import SettingsError
from postroom.site import Site
from postroom.table import rows_of
from tests.handlers.kit import built

CODE = "def plain(mail): pass\nasync def coroutine(mail): pass\n"


def site(folder: Path, *, url: str = "kafka://127.0.0.1:9", function: str = "coroutine", more: str = "") -> Site:
    """An installation of one handler on Faust and one that is not. Nothing is connected to."""
    (folder / "actions.py").write_text(CODE)
    (folder / "accounts.toml").write_text("")
    (folder / "postroom.toml").write_text(f"""
        [log]
        url = "{url}"
        {more}
        [handlers.x]
        use = "python"
        python = "actions:{function}"
        domains = ["x.org"]
        runtime = "faust"
        [handlers.y]
        use = "maildir"
        path = "y/"
        domains = ["y.org"]
    """)
    return Site.at(folder / "postroom.toml")


def test_on_sqlite_it_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r'\[handlers\].*runtime = "faust" of handler x: Faust needs Kafka .* leave it out') as raised:
        site(tmp_path, url="sqlite:///postroom.db")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("settings", [{"use": "python", "python": "actions:plain"}, {"use": "maildir", "path": Path("box")}])
def test_what_is_no_coroutine_is_refused(tmp_path: Path, settings: dict[str, str | Path]) -> None:
    (tmp_path / "actions.py").write_text(CODE)
    with pytest.raises(HandlerSettingsError, match=r"^\[handlers.test\] runtime: .*`async def`"):
        built(tmp_path, runtime="faust", **settings)
    assert built(tmp_path, runtime="faust", use="python", python="actions:coroutine")


def test_security_that_faust_cannot_follow_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    here = site(tmp_path, more='kafka = { "ssl.keystore.location" = "x" }')
    with pytest.raises(SettingsError, match=r"postroom.toml: \[log.kafka\] ssl.keystore.location"):
        Roles(here, ["handler:x"], drain=True)
    assert Roles(here, ["handler:y", "settle"], drain=True).names == ["handler:y", "settle:x"]


def test_the_topics_groups_and_roles_of_such_a_handler(tmp_path: Path) -> None:
    """mail.said.<name> and its group are made for handlers on Faust only."""
    here = site(tmp_path)
    assert [spec.name for spec in here.topic_specs() if ".said." in spec.name] == ["mail.said.x"]
    assert {group: topics for group, topics in here.groups().items() if "settle" in group} == {"postroom.mail.settle.x": ["mail.said.x"]}
    assert "settle:x" in Roles(here, [], drain=True).names
    with pytest.raises(UnknownRole, match="settle:x"):
        Roles(here, ["settle:y"], drain=True)


def test_the_topology_shows_who_writes_what(tmp_path: Path) -> None:
    found = {row["stage"]: row for row in rows_of(site(tmp_path))}
    assert found["handler:x"]["writes"] == ["mail.said.x"]
    assert found["settle:x"]["sources"] == ["mail.said.x"]
    assert "mail.answers" in found["handler:y"]["writes"]
    assert "settle:y" not in found
