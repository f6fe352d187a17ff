"""An installation on whose log is everything that a copy must carry: mails that ended in every way, some at every stage that waits, replies
sent and owed, a replay, mails in the archive, repeats, and bare records of another program."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from postroom.cli import app
from postroom.site import Site
from streams.record import Draft
from tests.acceptance.conftest import GONE, SAMPLE
from tests.acceptance.place import Letters, Place

CODE = """
from pathlib import Path

from handlers import Refuse, Reply, Retry

HERE = Path(__file__).parent


def handle(mail):
    if mail.recipient.startswith("later") and not (HERE / "go").exists():
        raise Retry(why="not yet")
    if mail.recipient.startswith("no"):
        raise Refuse("No such bug.")
    if mail.recipient.startswith("broken") and not (HERE / "mended").exists():
        raise ValueError("broken")
    with (HERE / "calls").open("a") as file:
        print(mail.recipient, mail.generation, mail.message["Subject"].split()[-1], file=file)
    if mail.recipient.startswith("answer"):
        return Reply("So it is.")
"""
HANDLER = {
    "use": "python",
    "python": "acts:handle",
    "domains": ["foo.com"],
    "retry_delays": [0.2, 0.2, 0.2],
    "pause_after": 0,
}
LARGE = 20_000


class Town:
    """See the module. place: its command line; its log is that of the settings file, which `moves_to` changes."""

    def __init__(self, folder: Path, log: str, partitions: int = 4) -> None:
        sections: Mapping[str, Mapping[str, Any]] = {
            "archive": {"inline_limit": LARGE},
            "log.topics": {"partitions": partitions},
            "replies": {"retry_delays": [0.2, 0.2, 0.2], "per_address_a_day": 100},
        }
        self.place = Place(folder, log, handlers={"bugs": HANDLER}, accounts=(SAMPLE, GONE), sections=sections, code={"acts.py": CODE})
        self.letter = Letters()
        self.first = ""
        """The text of a mail that was handled."""

    def lives(self) -> None:
        """Fills the log. In the end something is open at each place where a record can be."""
        place, letter = self.place, self.letter
        self.first = letter("first@foo.com")
        place.mail(self.first, "--sender", "test@canonical.com", "--recipient", "first@foo.com")
        everything = [letter("answer@foo.com"), letter("no-1@foo.com"), letter("broken@foo.com"), letter("x@elsewhere.example")]
        everything += [letter(f"many-{number}@foo.com") for number in range(12)]
        everything += [letter("large@foo.com", body="large " * LARGE), letter("robot@foo.com", fields="Precedence: bulk\n")]
        everything += [letter("a@foo.com", sender="nobody@else.example"), letter("b@foo.com", sender="gone@canonical.com")]
        place.imported(everything, "--sender", "test@canonical.com")
        place.mail(self.first, "--sender", "test@canonical.com", "--recipient", "second@foo.com", "--recipient", "first@foo.com")
        self._from_outside(4)
        place.drain()
        (self.place.folder / "mended").touch()
        place.run("replay", "--status", "failed", "--handler", "bugs", "--apply", "--redo")
        place.drain()
        self.leaves_open()

    def leaves_open(self) -> None:
        """Mails that wait at each stage and reply."""
        place, letter = self.place, self.letter
        place.imported([letter(f"later-{number % 2}@foo.com") for number in range(4)], "--sender", "test@canonical.com")
        place.run("run", "chain", "handler:bugs", "--drain", "--patience", "0.1", status=75)
        place.imported([letter("no-2@foo.com"), letter("answer@foo.com"), letter("y@elsewhere.example")])
        place.run("run", "chain", "handler:bugs", "--drain", "--patience", "0.1", status=75)
        place.imported([letter("no-3@foo.com")])
        place.run("run", "chain", "handler:bugs", "replyer", "--drain", "--patience", "0.1", status=75)
        place.imported([letter("routed@foo.com")])
        place.run("run", "chain", "--drain")
        place.imported([letter("screened@foo.com")])
        place.run("run", "bounce-filter", "--drain")
        place.imported([letter(f"raw-{number}@foo.com", sender=f"p{number}@else.example") for number in range(3)])

    def _from_outside(self, count: int) -> None:
        with closing(self.site()) as site:
            bare = [Draft(site.topics.raw, None, self.letter(f"bare-{number}@foo.com").encode()) for number in range(count)]
            site.log.append(bare)

    def site(self) -> Site:
        """The installation as the settings have it now."""
        return Site.at(self.place.folder / "postroom.toml")

    def moves_to(self, url: str, **log: Any) -> None:
        """Changes the settings to another log; the file of before is then `old.toml`."""
        settings = self.place.folder / "postroom.toml"
        text = settings.read_text()
        (self.place.folder / "old.toml").write_text(text)
        text = re.sub(r'(?m)^url = "(?:sqlite|kafka)[^"]*"', f"url = {json.dumps(url)}", text)
        for name, value in log.items():
            text = re.sub(rf"(?m)^{name} = .*", f"{name} = {json.dumps(value)}", text)
        settings.write_text(text)

    # -- what is on the log

    def ask(self, *args: str) -> bytes:
        """What a command that only reads says, called in this process: there are many, and a process each takes its time."""
        done = CliRunner().invoke(app, ["--config", str(self.place.folder / "postroom.toml"), *args])
        assert done.exit_code == 0, (args, done.output, done.exception)
        return done.stdout_bytes

    def lines(self, *args: str) -> list[dict[str, Any]]:
        """The JSON lines of such a command."""
        return [json.loads(line) for line in self.ask(*args, "--json").splitlines()]

    def outcomes(self) -> list[dict[str, Any]]:
        """`list --all`, in an order that does not depend on the log's."""
        rows = self.lines("list", "--all")
        return sorted(rows, key=lambda row: (row["mail_id"], row["delivery_id"], row["generation"]))

    def pending(self) -> Counter[tuple[str, str]]:
        """What waits, and for what."""
        return Counter((row["mail_id"], row["detail"]) for row in self.lines("list", "--pending"))

    def story(self, mail_id: str) -> Any:
        """`show --json` and `why --json`, without the places of records."""
        return _without_places([self.lines("show", mail_id), self.lines("why", mail_id)])

    def raw(self, mail_id: str) -> bytes:
        """`show --raw`."""
        return self.ask("show", mail_id, "--raw")

    def fsck(self) -> dict[str, Any]:
        """`fsck --json`."""
        return self.lines("fsck")[0]

    def calls(self) -> Counter[str]:
        """How often the handler acted, by recipient and generation."""
        return Counter(line.rpartition(" ")[0] for line in (self.place.folder / "calls").read_text().splitlines())

    def goes_on(self) -> None:
        """Lets everything that waits end."""
        (self.place.folder / "go").touch()
        self.place.drain()


def _without_places(document: Any) -> Any:
    """A document without log id, topic's prefix, partition and offset, with its lists of records sorted."""
    if isinstance(document, dict):
        kept = {name: _without_places(value) for name, value in document.items() if name not in ("log", "partition", "offset")}
        return kept | ({"topic": document["topic"].rpartition(".")[2]} if isinstance(document.get("topic"), str) else {})
    if isinstance(document, list):
        return sorted(map(_without_places, document), key=lambda one: json.dumps(one, sort_keys=True))
    return document


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town on SQLite that has lived, from which tests take copies."""
    made = Town(tmp_path_factory.mktemp("town"), "sqlite:///postroom.db")
    made.lives()
    return made


@pytest.fixture
def town(lived: Town, tmp_path: Path) -> Town:
    """A town of the test's own."""
    folder = shutil.copytree(lived.place.folder, tmp_path / "town")
    mine = copy(lived)
    mine.place, mine.letter = copy(lived.place), copy(lived.letter)
    mine.place.folder = folder
    return mine
