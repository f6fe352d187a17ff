"""The words of our mails: a text file a reason, each of which a team can replace by one of the same name in a folder of its own.

`$name` stands for what is known of the case (string.Template; `$$` is a dollar sign). A paragraph is one line however long: what is
wider than 72 columns is wrapped, with longer words left whole, and shorter lines stay as they are.
"""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from textwrap import wrap

from topology.facts import Facts, Outcome

WIDTH = 72
"""Columns of a notice."""

NEEDED: dict[str, frozenset[str]] = {
    "oops": frozenset({"oops_id"}),
    "no-handler": frozenset({"oops_id"}),
    "bad-signature": frozenset({"detail"}),
    "signature-time": frozenset(),
    "strong-required": frozenset(),
    "too-large": frozenset(),
    "refused": frozenset({"detail"}),
    "gone": frozenset(),
}
"""The templates (file names without .txt), each with what it must say. Those but `oops` and `gone` are named for the reason; `oops` is
for every other failure; `gone` stands in place of an original that is no longer kept."""

PLACEHOLDERS: dict[str, str] = {
    "about": "`your mail`, with the addresses it was to",
    "detail": "what was wrong, in words (refused, bad-signature)",
    "help": "where to ask: the setting replies.help",
    "limit": "the size of mail that is taken",
    "oops_id": "the error's id",
    "size": "the size of the mail",
}
"""What a template may say. Nothing of our inner state is among it, nor of anybody but the sender."""

_SHOWS_DETAIL = frozenset({"refused", "bad-signature"})


class TemplateFault(ValueError):
    """A template that cannot be used; the text names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Context:
    """What settings add to the words. help: where to ask. max_size: octets of the largest mail that is taken."""

    help: str
    max_size: int


class Templates:
    """The texts, read and checked once. folder: the team's own, or None. Raises TemplateFault."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            _check_folder(folder)
        own = files(__package__).joinpath("templates")
        self._texts = {name: _read(name, _place(folder, own, f"{name}.txt")) for name in NEEDED}

    def text(self, facts: Facts, context: Context) -> str:
        """The words about the outcome in `facts`, wrapped."""
        outcome = facts.outcome
        assert outcome
        template = self._texts.get(outcome.reason or "") or self._texts["oops"]
        return wrapped(template.substitute(_values(facts, outcome, context)))

    def gone(self, context: Context) -> str:
        """The words in place of an original that is no longer kept, wrapped. It is about every mail alike, so only `help` and `limit`
        say anything there."""
        return wrapped(self._texts["gone"].substitute(dict.fromkeys(PLACEHOLDERS, "") | _settings(context)))


def wrapped(text: str) -> str:
    """Lines wider than 72 columns are broken at blanks; every other line stays, and so does every word."""
    lines = text.strip("\n").splitlines()
    return "".join(f"{row}\n" for line in lines for row in (_wrap(line) if len(line) > WIDTH else (line.rstrip(),)))


def _wrap(line: str) -> list[str]:
    return wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise TemplateFault(f"replies.templates: {folder} is no folder; create it, or leave the setting out")
    unknown = sorted(path.name for path in folder.glob("*.txt") if path.stem not in NEEDED)
    if unknown:
        raise TemplateFault(
            f"replies.templates: {folder / unknown[0]} would never be used; the templates are {', '.join(f'{n}.txt' for n in NEEDED)}"
        )


def _place(folder: Path | None, own: Traversable, filename: str) -> Traversable:
    if folder is not None and (folder / filename).exists():
        return folder / filename
    return own.joinpath(filename)


def _read(name: str, place: Traversable) -> Template:
    try:
        template = Template(place.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateFault(f"template {place}: cannot be read as UTF-8 text: {error}") from error
    if not template.is_valid():
        raise TemplateFault(f"template {place}: a dollar sign that begins no placeholder; write $$ for a dollar sign")
    used = set(template.get_identifiers())
    if unknown := used - PLACEHOLDERS.keys():
        raise TemplateFault(f"template {place}: ${sorted(unknown)[0]} is unknown; there are {', '.join(f'${p}' for p in PLACEHOLDERS)}")
    if missing := NEEDED[name] - used:
        raise TemplateFault(f"template {place}: must say ${sorted(missing)[0]} ({PLACEHOLDERS[sorted(missing)[0]]})")
    return template


def _values(facts: Facts, outcome: Outcome, context: Context) -> dict[str, str]:
    recipients = outcome.recipients or ((outcome.recipient,) if outcome.recipient else ())
    return _settings(context) | {
        "about": f"your mail to {', '.join(recipients)}" if recipients else "your mail",
        "detail": (outcome.detail or "") if outcome.reason in _SHOWS_DETAIL else "",
        "oops_id": outcome.oops_id or "",
        "size": _mebibytes(facts.envelope.size),
    }


def _settings(context: Context) -> dict[str, str]:
    return {"help": context.help, "limit": _mebibytes(context.max_size)}


def _mebibytes(octets: int) -> str:
    return f"{octets / (1 << 20):.1f} MiB"
