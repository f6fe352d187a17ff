"""A case: one mail, the keys that are held, and the fact that must come of it."""

from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).parent.parent / "cases"

RECEIVED_AT = "2026-01-10T12:05:00Z"
SIGNED_AT = "2026-01-10T12:00:00.000Z"


@dataclass(frozen=True)
class Expected:
    """One signature. key: the name of the key whose certificate the fact must name."""

    verdict: str
    key: str | None = None
    engine: str | None = None
    legacy: bool = False
    created_at: str | None = SIGNED_AT


@dataclass(frozen=True)
class Case:
    """name: "NN-words". shows: two sentences. raw: the mail. signatures: what must be found; none: nothing is signed there.
    part, text: of the signed range, when a signature is good. keys: the names of those held, all of them when empty."""

    name: str
    shows: str
    raw: bytes
    signatures: list[Expected]
    text: str | None = None
    form: str = "clear"
    part: str = ""
    received_at: str = RECEIVED_AT
    without: list[str] = field(default_factory=lambda: ["stranger"])

    def write(self) -> None:
        """Writes the .eml and the .toml beside it."""
        CASES.mkdir(exist_ok=True)
        (CASES / f"{self.name}.eml").write_bytes(self.raw)
        lines = [f"shows = {_string(self.shows)}", f"received_at = {_string(self.received_at)}", f"without = {_strings(self.without)}"]
        if self.signatures:
            lines += [f"form = {_string(self.form)}"]
        if self.text is not None:
            lines += [f"part = {_string(self.part)}", f"text = {_string(self.text)}"]
        for signature in self.signatures:
            lines += ["", "[[signature]]", f"verdict = {_string(signature.verdict)}"]
            for name in ("key", "engine", "created_at"):
                value = getattr(signature, name)
                lines += [f"{name} = {_string(value)}"] if value else []
            lines += [f"legacy = {str(signature.legacy).lower()}"]
        (CASES / f"{self.name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def good(key: str, engine: str = "sequoia", *, legacy: bool = False, created_at: str = SIGNED_AT) -> list[Expected]:
    """One good signature by that key."""
    return [Expected("good", key, engine, legacy, created_at)]


def one(verdict: str, key: str | None = None, engine: str | None = None, *, created_at: str | None = SIGNED_AT) -> list[Expected]:
    """One signature that does not hold."""
    return [Expected(verdict, key, engine, created_at=created_at)]


def flaw(verdict: str) -> list[Expected]:
    """A mail of which no signature could be read."""
    return [Expected(verdict, created_at=None)]


def _string(text: str) -> str:
    """A TOML basic string."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}" for char in plain) + '"'


def _strings(texts: list[str]) -> str:
    return f"[{', '.join(map(_string, texts))}]"
