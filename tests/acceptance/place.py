"""A whole installation in a folder, driven from outside by its command line: what every acceptance test stands on."""

import email
import email.policy
import json
import mailbox
import os
import subprocess
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.acceptance.calls import POSTROOM, call
from tests.broker.broker import free_port

_started: list["subprocess.Popen[bytes]"] = []


def end_all() -> None:
    """Ends whatever `Place.start` has started and still runs: a test that failed leaves it to load the machine for those behind."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


class Place:
    """A settings folder. log: the log's URL. Handlers are given as TOML-able dicts; sections likewise, None takes a key out."""

    def __init__(
        self,
        folder: Path,
        log: str,
        *,
        handlers: Mapping[str, Mapping[str, Any]] | None = None,
        accounts: Sequence[Mapping[str, Any]] = (),
        sections: Mapping[str, Mapping[str, Any]] | None = None,
        code: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.stderr = ""
        self._count = 0
        prefix = f"t{os.getpid()}-{folder.name[-40:]}-{folder.parent.name[-20:]}".replace("_", "-")
        for name in ("keys", "home"):
            (folder / name).mkdir(exist_ok=True)
        everything: dict[str, dict[str, Any]] = {
            "log": {"url": log, "prefix": "".join(c if c.isalnum() or c in ".-" else "-" for c in prefix)},
            "ingest": {"lmtp": f"127.0.0.1:{free_port()}"},  # tests run beside each other
            "accounts": {"file": "accounts.toml", "keys": "keys/"},
            "authentication": {"dns_zone": "zone.json"},
            "routing": {"original_recipient_headers": ["X-Original-To"]},
            "replies": {"outbox": "outbox/", "from": "postroom@postroom.example", "help": "https://help.example.org/"},
        }
        if log.startswith("kafka"):  # a broker makes eight partitions of each of two dozen topics in seconds, two in a moment
            everything["log.topics"] = {"partitions": 2}
        for name, values in (sections or {}).items():
            everything.setdefault(name, {}).update(values)
        if "smtp" in everything["replies"]:
            everything["replies"].pop("outbox", None)
        for name, handler in (handlers or {}).items():
            everything[f"handlers.{name}"] = dict(handler)
        self.write("postroom.toml", "".join(_section(f"[{name}]", values) for name, values in everything.items()))
        self.write("accounts.toml", "".join(_section("[[account]]", account) for account in accounts))
        if not (folder / "zone.json").exists():
            self.write("zone.json", "{}")
        for name, text in (code or {}).items():
            self.write(name, text)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    # -- commands -----------------------------------------------------------------------------------------------------------------

    def command(self, *args: str) -> list[str]:
        """The command line of one call."""
        return [POSTROOM, "--config", str(self.folder / "postroom.toml"), *args]

    def run(self, *args: str, data: bytes | None = None, status: int | None = 0, env: Mapping[str, str] | None = None) -> bytes:
        """One call; its standard output. status: the exit status that it must have (None: any, see `status`). kib: the most memory."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")} | dict(env or {})
        done = call(self.command(*args)[1:], data or b"", environment)
        self.status, self.kib, self.stderr = done.status, done.kib, done.stderr.decode("utf-8", "replace")
        assert status is None or done.status == status, f"postroom {' '.join(args)}: exit {done.status}\n{self.stderr[-3000:]}"
        return done.stdout

    def start(self, *args: str) -> "subprocess.Popen[bytes]":
        """A call that goes on, in the background, until the end of the test at the latest."""
        started = subprocess.Popen(self.command(*args), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _started.append(started)
        return started

    def lines(self, *args: str, status: int | None = 0) -> list[dict[str, Any]]:
        """The JSON lines of one call with --json."""
        return [json.loads(line) for line in self.run(*args, "--json", status=status).splitlines()]

    def mail(self, data: str | bytes, *args: str, name: str | None = None) -> str:
        """Imports one mail; its mail id."""
        return (
            str(self.imported([data], *args)[0]["mail_id"])
            if name is None
            else str(self._import([self._file(data, name)], args)[0]["mail_id"])
        )

    def imported(self, mails: Sequence[str | bytes], *args: str) -> list[dict[str, Any]]:
        """Imports mails in one call; the lines about them."""
        return self._import([self._file(data) for data in mails], args)

    def _import(self, files: Sequence[Path], args: Sequence[str]) -> list[dict[str, Any]]:
        return self.lines("import", *args, *map(str, files))

    def _file(self, data: str | bytes, name: str | None = None) -> Path:
        self._count += 1
        path = self.folder / (name or f"mail-{self._count:04d}.eml")
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def drain(self, *args: str, status: int | None = 0) -> None:
        """Processes everything that there is."""
        self.run("run", *args, "--drain", status=status)

    # -- what came of it ------------------------------------------------------------------------------------------------------------

    def outcomes(self, *args: str) -> list[dict[str, Any]]:
        """The rows of `list`."""
        return self.lines("list", *args)

    def outcome(self, mail_id: str) -> dict[str, Any]:
        """The one outcome of a mail."""
        rows = [row for row in self.outcomes() if row["mail_id"] == mail_id]
        assert len(rows) == 1, rows
        return rows[0]

    def word(self, mail_id: str) -> tuple[str, str | None]:
        """Status and reason of a mail's one outcome."""
        row = self.outcome(mail_id)
        return row["status"], row["reason"]

    def show(self, id_: str) -> dict[str, Any]:
        """`show --json`."""
        return self.lines("show", id_)[0]

    def fsck(self) -> dict[str, Any]:
        """`fsck --json`, which must find nothing."""
        return self.lines("fsck")[0]

    def outbox(self) -> list[EmailMessage]:
        """The mails that we wrote, read by the standard library's strictest policy."""
        folder = self.folder / "outbox" / "new"
        if not folder.exists():
            return []
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in sorted(folder.iterdir())]

    def reply_about(self, oops_id: str) -> EmailMessage:
        """The one mail of ours that quotes an OOPS id."""
        found = [mail for mail in self.outbox() if oops_id in words_of(mail)]
        assert len(found) == 1
        return found[0]

    def maildir(self, name: str) -> list[bytes]:
        """The mails that a Maildir handler wrote."""
        path = self.folder / name
        if not all((path / name).exists() for name in ("tmp", "new", "cur")):  # not made yet, or being made
            return []
        return [message.as_bytes() for message in mailbox.Maildir(path, create=False)]


def words_of(mail: EmailMessage) -> str:
    """What a mail of ours says: its text, or its first part."""
    part = next(mail.iter_parts()) if mail.is_multipart() else mail
    return str(part.get_content())


def _section(head: str, values: Mapping[str, Any]) -> str:
    return head + "\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None) + "\n"


def _toml(value: Any) -> str:
    """TOML and JSON write these values alike, but for nested tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


class Letters:
    """Writes plain test mails, each with its own Message-ID."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, to: str, sender: str = "Sample Person <test@canonical.com>", *, fields: str = "", body: str = "hello") -> str:
        self._number += 1
        return (
            f"From: {sender}\nTo: {to}\nSubject: case {self._number}\nMessage-ID: <case.{self._number}@mail.example>\n"
            f"Date: Mon, 02 Mar 2026 10:00:00 +0000\n{fields}\n{body} {self._number}\n"
        )
