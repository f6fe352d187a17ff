"""The real mails that the tests keep (tests/corpus), with what is expected of each."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "corpus"


class CorpusMail(NamedTuple):
    """id: folder and name. kind: the folder. expect: see the README of the corpus."""

    id: str
    kind: str
    file: Path
    expect: dict[str, Any]

    @property
    def raw(self) -> bytes:
        """The mail as published."""
        return self.file.read_bytes()


@cache
def corpus(*kinds: str) -> tuple[CorpusMail, ...]:
    """The mails of these folders (all when none is named)."""
    rows = [json.loads(line) for line in (FOLDER / "index.jsonl").read_text().splitlines()]
    mails = (CorpusMail(row["id"], row["file"].partition("/")[0], FOLDER / row["file"], row["expect"]) for row in rows)
    return tuple(mail for mail in mails if not kinds or mail.kind in kinds)
