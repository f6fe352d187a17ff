"""What must hold of an installation after any storm, once it has been drained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.acceptance.place import Place
from tests.chaos.town import Letter

CRASHED = ("failed", "crashed")


@dataclass(frozen=True, slots=True)
class Books:
    """What came of the mails. crashed: those of which something was set aside, because its workers were killed again and again just
    while they had it in hand. again: calls of the Python handler beyond the first for a delivery."""

    mails: int
    outcomes: int
    replies: int
    crashed: int
    again: int


def balanced(place: Place, letters: Sequence[Letter], written: int | None = None) -> Books:
    """Checks that every mail has the outcome that it must have, once a delivery, and that each reply that is owed was written once.
    written: how many replies there are, where they do not stand in the outbox."""
    counts = place.fsck()
    faults = ("lost", "doubled", "unknown", "stuck", "on_its_way")
    assert {name: counts[name] for name in faults} == dict.fromkeys(faults, 0)
    rows = place.outcomes("--all")
    assert {row["generation"] for row in rows} == {0}
    assert len({row["delivery_id"] for row in rows}) == len(rows)
    crashed = _each_as_it_must(rows, letters)
    sound = [letter for letter in letters if letter not in crashed]
    owed = sum(letter.owed for letter in sound)
    written = len(place.outbox()) if written is None else written
    assert owed <= written <= owed + sum(len(letter.recipients) for letter in crashed)
    calls = (place.folder / "calls").read_text().split()
    return Books(len(letters), len(rows), written, len(crashed), len(calls) - len(set(calls)))


def _each_as_it_must(rows: Sequence[dict[str, Any]], letters: Sequence[Letter]) -> list[Letter]:
    """Compares the outcomes of each mail with what was to come of it. Returns those of which something has crashed instead."""
    came: dict[str, list[dict[str, Any]]] = {letter.id: [] for letter in letters}
    for row in rows:
        came[row["message_id"]].append(row)
    crashed = []
    for letter in letters:
        words = Counter((row["status"], row["reason"]) for row in came[letter.id])
        answered = {row["reply"] for row in came[letter.id] if row["status"] in ("failed", "returned")}
        if CRASHED in words or "given-up:crashed" in answered:
            crashed.append(letter)
            assert all(row["reason"] == "crashed" or (row["status"], row["reason"]) in letter.expect for row in came[letter.id])
        else:
            assert words == Counter(letter.expect), (letter.id, came[letter.id])
            assert answered <= {"sent"}, came[letter.id]
    return crashed
