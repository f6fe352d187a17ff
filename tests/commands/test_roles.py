"""What the roles of one process ask of it."""

from contextlib import closing
from pathlib import Path

import pytest

from postroom.roles import Roles
from postroom.site import Site
from tests.acceptance.place import Place

CODE = {"h.py": "def plain(mail): pass\nasync def waiting(mail): pass\n"}


@pytest.mark.parametrize(
    ("roles", "prompt"),
    [(["chain", "replyer"], False), (["handler:plain"], False), (["handler:waiting"], True), (["chain", "lmtp"], True), (["smtp"], True)],
)
def test_threads_take_short_turns_only_where_somebody_waits_for_an_answer(tmp_path: Path, roles: list[str], prompt: bool) -> None:
    handlers = {
        name: {"use": "python", "python": f"h:{name}", "domains": [f"{name}.com"], "allow_unknown_senders": True}
        for name in ("plain", "waiting")
    }
    place = Place(tmp_path, "sqlite:///postroom.db", handlers=handlers, sections={"ingest": {"smtp": "127.0.0.1:8025"}}, code=CODE)
    with closing(Site.at(place.folder / "postroom.toml")) as site:
        assert Roles(site, roles, drain=False).prompt == prompt
