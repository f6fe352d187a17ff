"""How many mails we write: a number per address and day, and a breaker over all.

Both count records of mail.replies by the time at which they were appended (UTC days and hours), so the log alone decides: processed
again, rebuilt after a crash, or worked off late after the relay was away, a record gets the same word. A loop therefore costs
at most the number of a day, or twice that round midnight.
"""

from collections.abc import Iterable

from streams.record import Record
from streams.retries import Waiting, origin

HOUR = 3_600_000
DAY = 24 * HOUR
"""Milliseconds."""

_KEPT = 3
"""Days before today that are remembered, for what waits in the retries."""


class Limits:
    """The counts of the partitions that are ours. An entry costs about 100 bytes; those of some days ago are dropped.

    per_address_a_day: mails to one address in a UTC day. an_hour: mails to all addresses of our partitions in an hour; this one only stops
    disasters, and a worker counts alone.
    """

    def __init__(self, per_address_a_day: int, an_hour: int) -> None:
        self._per_address = per_address_a_day
        self._an_hour = an_hour
        self._days: dict[int, dict[int, dict[bytes, list[int]]]] = {}
        self._hours: dict[int, set[tuple[int, int]]] = {}

    def rebuild(self, partition: int, recent: Iterable[Record]) -> None:
        """Counts what was processed before: the records of this partition of mail.replies from the last day, in their order."""
        self.forget(partition)
        for record in recent:
            self.exceeded(record)

    def forget(self, partition: int) -> None:
        """The partition is somebody else's now."""
        self._days.pop(partition, None)
        for hour in self._hours.values():
            hour.difference_update([counted for counted in hour if counted[0] == partition])

    def exceeded(self, record: Record) -> str | None:
        """The limit that keeps this record from being sent ("limit" or "breaker"), or None; it is counted then. Asked again of the
        same record, also when it comes by way of a retry, it says the same. Within a key, records come in their order."""
        place = (record.partition, origin(record))
        appended = Waiting.since(record)
        days = self._days.setdefault(record.partition, {})
        today = appended // DAY
        if today not in days:
            for day in [day for day in days if day < today - _KEPT]:
                del days[day]
        if not self._among_first(days.setdefault(today, {}).setdefault(record.key or b"", []), place[1]):
            return "limit"
        hour = appended // HOUR
        if hour not in self._hours:
            for old in [old for old in self._hours if old < hour - 24 * _KEPT]:
                del self._hours[old]
        sent = self._hours.setdefault(hour, set())
        if place not in sent:
            if len(sent) >= self._an_hour:
                return "breaker"
            sent.add(place)
        return None

    def _among_first(self, offsets: list[int], offset: int) -> bool:
        """Whether the record is one of the first of its day; `offsets` are those."""
        if offset not in offsets and len(offsets) < self._per_address:
            offsets.append(offset)
        return offset in offsets
