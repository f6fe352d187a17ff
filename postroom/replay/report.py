"""What a replay says, for people and for tools."""

from collections.abc import Mapping
from typing import Any

from postroom.reading.out import Out
from postroom.reading.render import SHORT_ID, STYLES
from postroom.replay.apply import Brought
from postroom.replay.preview import Preview, Word

LEFT_OUT = {
    "handled": "are handled (--redo takes them too)",
    "on_its_way": "are on their way already",
    "without_position": "do not say where their mail stands",
    "gone": "are gone: erased, or no longer in the log or the archive",
}


def preview_document(found: Preview, deliveries: int) -> dict[str, Any]:
    """A preview as `replay --json` gives it. deliveries: how many outcomes were selected."""
    counts = {"mails": found.mails, "deliveries": deliveries, "gone": found.gone, "differences": found.differences}
    return counts | {"changes": list(found.rows())}


def show_preview(found: Preview, out: Out) -> None:
    """The table, with examples."""
    out.line((f"{found.mails:,} mails; {found.differences:,} deliveries would not be as they are", "bold"))
    if found.gone:
        out.line((f"{found.gone:>9}  mails left out: they {LEFT_OUT['gone']}", "dim"))
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


def brought_document(done: Brought | None, left_out: Mapping[str, int]) -> dict[str, Any]:
    """An apply as `replay --apply --json` gives it. done: None where there was nothing to bring in, so that there is no replay."""
    counts = {"mails": done.mails, "already_in": done.already_in} if done else {"mails": 0, "already_in": 0}
    why = {name: left_out.get(name, 0) for name in LEFT_OUT} | {"gone": done.gone if done else 0}
    return {"generation": done.generation if done else None} | counts | {"left_out": why}


def show_brought(done: Brought | None, left_out: Mapping[str, int], out: Out) -> None:
    """What was brought in, and what was not."""
    document = brought_document(done, left_out)
    if done:
        before = f", {done.already_in:,} were in already" if done.already_in else ""
        out.line((f"replay {done.generation}: {done.mails:,} mails brought in{before}", "bold"))
    else:
        out.line(("nothing to bring in", "bold"))
    for name, count in document["left_out"].items():
        if count:
            out.line((f"{count:>9}  {'mails' if name == 'gone' else 'deliveries'} left out: they {LEFT_OUT[name]}", "dim"))
