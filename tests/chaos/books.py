"""What must hold of an installation after any storm, once it has been drained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.acceptance.place import Place
from tests.chaos.town import Letter


@dataclass(frozen=True, slots=True)
class Books:
    """What came of the mails. crashed: deliveries that were set aside, because their worker was killed three times just while it had
    them in hand. again: calls of the Python handler beyond the first for a delivery."""

    mails: int
    outcomes: int
    replies: int
    crashed: int
    again: int


def balanced(place: Place, letters: Sequence[Letter]) -> Books:
    """Checks that every mail has the outcome that it must have, once a delivery, and that each reply that is owed was written once."""
    counts = place.fsck()
    assert {name: counts[name] for name in ("lost", "doubled", "unknown", "stuck", "on_its_way")} == dict.fromkeys(
        ("lost", "doubled", "unknown", "stuck", "on_its_way"), 0
    )
    rows = place.outcomes("--all")
    assert {row["generation"] for row in rows} == {0}
    assert len({row["delivery_id"] for row in rows}) == len(rows)
    crashed = _each_as_it_must(rows, letters)
    assert {row["reply"] for row in rows if row["status"] in ("failed", "returned") and row["reason"] != "crashed"} == {"sent"}
    owed, written = sum(letter.owed for letter in letters), len(place.outbox())
    assert owed <= written <= owed + crashed
    calls = (place.folder / "calls").read_text().split()
    return Books(len(letters), len(rows), written, crashed, len(calls) - len(set(calls)))


def _each_as_it_must(rows: Sequence[dict[str, Any]], letters: Sequence[Letter]) -> int:
    """Compares the outcomes of each mail with what was to come of it; how many are `crashed` instead."""
    came: dict[str, Counter[tuple[str, str | None]]] = {letter.id: Counter() for letter in letters}
    for row in rows:
        came[row["message_id"]][row["status"], row["reason"]] += 1
    crashed = 0
    for letter in letters:
        innocent = came[letter.id].pop(("failed", "crashed"), 0)
        crashed += innocent
        missing = Counter(letter.expect) - came[letter.id]
        assert came[letter.id] <= Counter(letter.expect), (letter.id, letter.expect, came[letter.id])
        assert missing.total() == innocent, (letter.id, letter.expect, came[letter.id])
    return crashed
