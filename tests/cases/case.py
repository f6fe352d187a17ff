"""A case: a mail, the installation that it comes to, and the fact that must come of it. Kept as two files of one name."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
RECEIVED = "2026-01-10T12:05:00Z"
SAMPLE: Mapping[str, Any] = {
    "id": "sample",
    "name": "Sample Person",
    "addresses": ["test@example.org"],
    "fingerprints": ["ed25519", "expired", "superseded", "compromised", "dsa"],
}
HELD = ("ed25519", "expired", "superseded", "compromised", "p256", "dsa")


@dataclass(frozen=True)
class Fact:
    """What must come of it. ends: "routed", or status and reason. reason: words that stand in the fact's reason. text: the signed text."""

    strength: str
    account: str | None = None
    sender: str | None = "test@example.org"
    method: str | None = None
    reason: str = ""
    ends: str = "routed"
    text: str | None = None


@dataclass(frozen=True)
class Case:
    """See README.md."""

    name: str
    row: str
    proves: str
    mail: bytes
    fact: Fact
    received_at: str = RECEIVED
    recipients: Sequence[str] = ("a@foo.com",)
    keys: Sequence[str] = HELD
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accounts: Sequence[Mapping[str, Any]] = (SAMPLE,)
    zone: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path = FILES) -> None:
        """The case as NAME.eml and NAME.toml."""
        (folder / f"{self.name}.eml").write_bytes(self.mail)
        (folder / f"{self.name}.toml").write_text("\n".join(self._lines()) + "\n", encoding="utf-8")

    def _lines(self) -> Iterator[str]:
        for name in ("row", "proves", "received_at"):
            yield f"{name} = {_value(getattr(self, name))}"
        if self.recipients != ("a@foo.com",):
            yield f"recipients = {_value(self.recipients)}"
        if self.keys != HELD:
            yield f"keys = {_value(self.keys)}"
        if not self.accounts:
            yield "account = []"
        yield from _table("[fact]", {name: value for name, value in asdict(self.fact).items() if value is not None})
        for section, values in self.settings.items():
            yield from _table(f"[settings.{section}]", values)
        for account in self.accounts if self.accounts != (SAMPLE,) else ():
            yield from _table("[[account]]", account)
        if self.zone:
            yield from _table("[zone]", self.zone)


def read(name: str, folder: Path = FILES) -> Case:
    """The case from its files."""
    told = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    known: dict[str, Any] = {part: told[part] for part in ("row", "proves", "received_at", "settings", "zone") if part in told}
    known |= {part: tuple(told[part]) for part in ("recipients", "keys") if part in told}
    if "account" in told:
        known["accounts"] = tuple(told["account"])
    fact = Fact(**({"sender": None} | told["fact"]))
    return Case(name=name, mail=(folder / f"{name}.eml").read_bytes(), fact=fact, **known)


def _table(head: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n{head}"
    for name, value in values.items():
        yield f"{json.dumps(name) if '.' in name else name} = {_value(value)}"


def _value(value: Any) -> str:
    """TOML writes these values as JSON does."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
