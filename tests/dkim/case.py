"""A case: a mail, its DNS, when it was received, and what its signatures are worth. Kept as three files of one name."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.dkim.signer import record
from topology.answers import Evidence

CASES = Path(__file__).parent / "cases"
RECEIVED = "2024-06-01T00:10:00Z"
DEFAULT_ZONE: Mapping[str, Evidence] = {"sel._domainkey.example.org": record("rsa-1024")}


@dataclass(frozen=True)
class Expected:
    """result: in RFC 8601's words. reason: words that stand in the reason. unsigned: as `DkimResult.unsigned`, where it matters."""

    result: str
    reason: str = ""
    domain: str = "example.org"
    unsigned: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Case:
    """proves: two sentences. dkimpy: where dkimpy passes another set of signatures, which rule explains it."""

    name: str
    mail: bytes
    results: Sequence[Expected]
    proves: str
    zone: Mapping[str, Evidence] = field(default_factory=lambda: DEFAULT_ZONE)
    received_at: str = RECEIVED
    max_age: int | None = None
    dkimpy: str = ""

    @property
    def received_at_ms(self) -> int:
        return int(datetime.fromisoformat(self.received_at).astimezone(UTC).timestamp() * 1000)

    def write(self, folder: Path = CASES) -> None:
        """The case as NAME.eml, NAME.zone.json and NAME.toml."""
        (folder / f"{self.name}.eml").write_bytes(self.mail)
        (folder / f"{self.name}.zone.json").write_text(json.dumps(self.zone, indent=1, ensure_ascii=False) + "\n")
        (folder / f"{self.name}.toml").write_text("\n".join(self._lines()) + "\n")

    def _lines(self) -> Iterator[str]:
        yield f"proves = {_quoted(self.proves)}"
        yield f"received_at = {_quoted(self.received_at)}"
        if self.max_age is not None:
            yield f"max_age = {self.max_age} # seconds"
        if self.dkimpy:
            yield f"dkimpy = {_quoted(self.dkimpy)}"
        if not self.results:
            yield "signature = []"
        for expected in self.results:
            yield "\n[[signature]]"
            yield f"result = {_quoted(expected.result)}"
            yield f"reason = {_quoted(expected.reason)}"
            yield f"domain = {_quoted(expected.domain)}"
            if expected.unsigned is not None:
                yield f"unsigned = {json.dumps(list(expected.unsigned))}"


def read(name: str, folder: Path = CASES) -> Case:
    """The case from its files."""
    told = tomllib.loads((folder / f"{name}.toml").read_text())
    results = [Expected(one["result"], one["reason"], one["domain"], _tuple(one.get("unsigned"))) for one in told.pop("signature")]
    zone = json.loads((folder / f"{name}.zone.json").read_text())
    return Case(name, (folder / f"{name}.eml").read_bytes(), results, zone=zone, **told)


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
