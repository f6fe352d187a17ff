"""TXT records from a file (`authentication.dns_zone`), for tests and for sites without DNS."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from topology.alignment import domain_name
from topology.answers import Answer


class ZoneError(ValueError):
    """The file cannot be used as a zone; the text names the file and the entry."""


class ZoneResolver:
    """Answers from a JSON object: {"sel._domainkey.example.org": "v=DKIM1; …"}. A value is a TXT record, a list of them, or
    "TEMPERROR" or "PERMERROR"; a name that is not in it does not exist. The file is read once. Raises ZoneError."""

    def __init__(self, path: Path) -> None:
        try:
            entries = json.loads(path.read_bytes(), object_pairs_hook=tuple)
        except OSError as error:
            raise ZoneError(f"{path}: cannot be read ({error.strerror}); authentication.dns_zone names it") from error
        except ValueError as error:
            raise ZoneError(f"{path}: is no JSON ({error})") from error
        if not isinstance(entries, tuple):
            raise ZoneError(f"{path}: must be one object of names and TXT records")
        self._answers: dict[str, Answer] = {}
        for name, value in entries:
            self._add(path, name, value)

    def txt(self, names: Collection[str]) -> Mapping[str, Answer]:
        """The TXT records at each of these names, at once."""
        return {name: self._answers.get(name, Answer("none")) for name in names}

    def _add(self, path: Path, name: str, value: object) -> None:
        known = domain_name(name)
        if known is None:
            raise ZoneError(f"{path}: {name!r} is no domain name")
        if known in self._answers:
            raise ZoneError(f"{path}: {name!r} stands twice; give its records as a list")
        if isinstance(value, str):
            self._answers[known] = Answer.from_evidence(value)
        elif isinstance(value, list) and all(isinstance(text, str) for text in value):
            self._answers[known] = Answer.from_evidence([text for text in value if isinstance(text, str)])
        else:
            raise ZoneError(f'{path}: {name!r} must be a TXT record, a list of them, "TEMPERROR" or "PERMERROR"')
