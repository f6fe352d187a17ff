"""What a replay says, for people and for tools."""

from collections.abc import Mapping
from typing import Any

from postroom.reading.out import Out
from postroom.reading.render import SHORT_ID, STYLES
from postroom.replay.preview import Preview, Word

LEFT_OUT = {
    "handled": "are handled (--redo takes them too)",
    "on_its_way": "are on their way already",
    "without_position": "do not say where their mail stands",
    "gone": "are of mails that the log or the archive no longer has",
}


def preview_document(found: Preview, deliveries: int) -> dict[str, Any]:
    """A preview as `replay --json` gives it. deliveries: how many outcomes were selected."""
    counts = {"mails": found.mails, "deliveries": deliveries, "gone": found.gone, "differences": found.differences}
    return counts | {"changes": list(found.rows())}


def show_preview(found: Preview, out: Out) -> None:
    """The table, with examples."""
    out.line((f"{found.mails:,} mails; {found.differences:,} deliveries would not be as they are", "bold"))
    if found.gone:
        out.line((f"{found.gone:,} mails {LEFT_OUT['gone'].removeprefix('are of mails that ')}: gone", "dim"))
    for row in found.rows():
        before, after = Word(**row["before"]), Word(**row["after"])
        mark = "≠" if row["differs"] else "="
        out.line()
        out.line(
            (f"{row['count']:>9}  {mark}  ", "bold" if row["differs"] else "dim"),
            (_told(before), STYLES[before.status]),
            ("  →  ", "dim"),
            (str(after), STYLES[after.status]),
        )
        for mail_id in row["examples"]:
            out.line((f"{'':14}postroom show {mail_id[:SHORT_ID]}", "dim"))


def _told(word: Word) -> str:
    return f"{word} ({word.handler})" if word.handler and word.status else str(word)


def show_left_out(left_out: Mapping[str, int], out: Out) -> None:
    """What was selected and is not brought in."""
    for why, count in left_out.items():
        if count:
            out.line((f"{count:>9}  left out: they {LEFT_OUT[why]}", "dim"))
