"""What the bounce filter remembers: the (mail id, recipient, generation) of the last `dedupe_window` of its partitions.

Mail servers hand a mail over again when our answer was lost, possibly for some of its recipients only. The memory is rebuilt from
mail.screened when a partition is assigned, so the log alone decides and a second worker remembers the same.
"""

from collections import deque
from collections.abc import Callable, Iterable

from streams.record import Record
from topology import ids
from topology.facts import Facts
from topology.records import facts_of, recipient_key

History = Callable[[int, int], Iterable[Record]]
"""(partition, since in ms): the records of mail.screened of that partition appended since then."""

_EVERYBODY = ""
"""Stands for the recipient of a hand-over that names none."""


class Repeats:
    """The memory of the partitions that are ours. window: seconds. An entry costs about 200 bytes."""

    def __init__(self, window: float, history: History) -> None:
        self._window_ms = round(window * 1000)
        self._history = history
        self._known: dict[int, dict[bytes, int]] = {}
        self._ages: dict[int, deque[tuple[int, bytes]]] = {}

    def assigned(self, partitions: Iterable[int], now_ms: int) -> None:
        """Rebuilds what is remembered of these partitions."""
        for partition in partitions:
            self._known[partition] = {}
            self._ages[partition] = deque()
            for record in self._history(partition, now_ms - self._window_ms):
                facts = facts_of(record)
                if facts.raw and record.key is not None and facts.screening:
                    self.remember(partition, facts.raw.offset, record.time, facts, facts.screening.recipients)

    def revoked(self, partitions: Iterable[int]) -> None:
        """Forgets partitions."""
        for partition in partitions:
            self._known.pop(partition, None)
            self._ages.pop(partition, None)

    def first(self, partition: int, offset: int, facts: Facts) -> tuple[list[str], list[str], int | None]:
        """Sorts the recipients of the raw record at `offset`: those that are new, those that are repeats, and the offset of the raw
        record where the first of these came before (None where none did). A hand-over without recipients counts as one."""
        known = self._known.get(partition, {})
        new: list[str] = []
        repeats: list[str] = []
        earliest: int | None = None
        for recipient in facts.envelope.recipients or (_EVERYBODY,):
            before = known.get(_entry(facts, recipient))
            # A record that is processed again after a crash meets its own entry, which is no repeat.
            if before is None or before >= offset:
                new.append(recipient)
            else:
                repeats.append(recipient)
                earliest = before if earliest is None else min(earliest, before)
        return [r for r in new if r], [r for r in repeats if r], earliest

    def remember(self, partition: int, offset: int, time_ms: int, facts: Facts, recipients: Iterable[str]) -> None:
        """Notes that the raw record at `offset` brought these recipients; forgets what is older than the window."""
        known, ages = self._known.setdefault(partition, {}), self._ages.setdefault(partition, deque())
        for recipient in tuple(recipients) or (_EVERYBODY,):
            entry = _entry(facts, recipient)
            if known.setdefault(entry, offset) == offset:
                ages.append((time_ms, entry))
        while ages and ages[0][0] < time_ms - self._window_ms:
            known.pop(ages.popleft()[1], None)


def _entry(facts: Facts, recipient: str) -> bytes:
    return bytes.fromhex(ids.delivery_id(f"{facts.envelope.mail_id}.{facts.generation}", recipient_key(recipient) if recipient else ""))
