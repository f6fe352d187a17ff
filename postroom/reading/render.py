"""Text for people, in parts that have a style. Parts hold what mails contain as it is; only `plain` and `styled` bring it out, and
make it safe."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from postroom.printable import safe
from postroom.reading.rows import Row

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"handled": "green", "dropped": "dim", "rejected": "yellow", "returned": "cyan", "failed": "red", None: "blue"}
SYMBOLS = {"handled": "✓", "dropped": "·", "rejected": "–", "returned": "↩", "failed": "✗", None: "…"}
SHORT_ID = 12
"""Digits of an id in lines for people; `show` takes them."""

Part = tuple[str, str]
"""Text with its style, "" for none."""


def plain(parts: Iterable[Part]) -> str:
    """Parts as one line of safe text, without blanks at its end."""
    return safe("".join(text for text, _ in parts)).rstrip()


def styled(parts: Iterable[Part]) -> "Text":
    """Parts as one line of safe text with its styles."""
    from rich.text import Text

    return Text.assemble(*((safe(text), style) for text, style in parts))


def outcome_parts(row: Row) -> list[Part]:
    """An outcome, or what is on its way, as one line."""
    status = row["status"]
    who = row["sender"] if row["sender"] is not None else row["envelope_sender"]
    word = f"{SYMBOLS[status]} {status or 'pending'}"
    why = row["reason"] or (row["detail"] if status is None else "") or ""
    ends = [
        (f"  {row['reply']}", "dim") if row["reply"] else ("", ""),
        (f"  replay {row['generation']}", "magenta") if row["generation"] else ("", ""),
    ]
    return [
        (_clock(row["decided_at"] or row["received_at"]), "dim"),
        (f"  {(row['mail_id'] or '')[:SHORT_ID]}  ", "dim"),
        (f"{word:<11}", STYLES[status]),
        (f"{why:<17}", STYLES[status]),
        (f" {'-' if who is None else who or '<>'}", ""),
        (" → ", "dim"),
        (row["recipient"] or "whole mail", "" if row["recipient"] else "dim"),
        (f"  {row['handler']}" if row["handler"] else "", "bold"),
        (f"  {row['strength']}" if row["strength"] else "", "dim"),
        *ends,
    ]


def _clock(at: str | None) -> str:
    """2026-03-01T10:00:00.000Z as 2026-03-01 10:00:00."""
    return (at or "")[:19].replace("T", " ").ljust(19)
