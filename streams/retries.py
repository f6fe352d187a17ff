"""Deliveries that wait for a later try, one topic a delay, so that each topic is first in, first out and one offset suffices.

Later deliveries of a waiting delivery's key follow it from topic to topic until it ends: order within a key holds, and nobody else
waits. What waits is found again, after any crash, in what the group has not yet committed of the retry topics.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streams.record import Draft, Record, TopicPartition, places
from streams.stage import Again

ATTEMPT = "pr_attempt"
"""Header of a waiting record: how often it has been tried."""
ORIGIN = "pr_origin"
"""Header of a waiting record: its offset in the stage's own topic, which tells the order within its key."""
SINCE = "pr_since"
"""Header of a waiting record: when it was first appended, ms since 1970."""
_OURS = frozenset({ATTEMPT, ORIGIN, SINCE})


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """topics: one a delay, shortest first; delays: seconds, as many. give_up: seconds after which a delivery has failed."""

    topics: tuple[str, ...]
    delays: tuple[float, ...] = (30.0, 300.0, 3600.0)
    give_up: float = 86400.0


def attempts(record: Record) -> int:
    """How often the record was tried before: 0 for one that comes from the stage's own topic."""
    return int(record.header(ATTEMPT) or 0)


def origin(record: Record) -> int:
    """Its offset in the stage's own topic."""
    header = record.header(ORIGIN)
    return record.offset if header is None else int(header)


class Waiting:
    """The waiting deliveries of the partitions that are ours: their keys, and those polled before they are due."""

    def __init__(self, plan: RetryPlan) -> None:
        self.plan = plan
        self._level = {topic: level for level, topic in enumerate(plan.topics)}
        self._keys: dict[tuple[int, bytes | None], set[int]] = {}
        self._parked: dict[TopicPartition, deque[tuple[int, Record]]] = {}  # with when each is due, ms since 1970

    def is_retry(self, at: TopicPartition) -> bool:
        """Whether a partition is one of a retry topic."""
        return at.topic in self._level

    def assigned(self, uncommitted: Iterable[Record]) -> None:
        """Takes over what is not yet committed of the retry topics."""
        for record in uncommitted:
            self._waits(record)

    def revoked(self, partitions: frozenset[int]) -> None:
        """Forgets partitions."""
        self._keys = {place: origins for place, origins in self._keys.items() if place[0] not in partitions}
        self._parked = {at: parked for at, parked in self._parked.items() if at.partition not in partitions}

    def park(self, records: Sequence[Record], now_ms: int) -> set[TopicPartition]:
        """Takes records of retry topics in hand until they are due; gives the partitions to pause meanwhile. now_ms: the clock. A record
        from later than that was written by one that was wrong for a moment, and all behind it have its time: they wait from now on."""
        for record in records:
            due = min(record.time, now_ms) + round(self.plan.delays[self._level[record.topic]] * 1000)
            self._parked.setdefault(record.at, deque()).append((due, record))
        return places(records)

    def due(self, now_ms: int, limit: int) -> tuple[list[Record], list[TopicPartition]]:
        """The parked records that are due, at most `limit`, and the partitions of which none is parked any more."""
        found: list[Record] = []
        for parked in self._parked.values():
            while parked and len(found) < limit and parked[0][0] <= now_ms:
                found.append(parked.popleft()[1])
        empty = [at for at, parked in self._parked.items() if not parked]
        for at in empty:
            del self._parked[at]
        return found, empty

    def unpark(self, records: Sequence[Record]) -> set[TopicPartition]:
        """Takes back records that `due` gave and that were not run; gives the partitions to pause again."""
        for record in reversed(records):
            self._parked.setdefault(record.at, deque()).appendleft((0, record))
        return places(records)

    def next_due(self) -> int | None:
        """When the next parked record is due, ms since 1970, or None."""
        return min((parked[0][0] for parked in self._parked.values() if parked), default=None)

    def parked_at(self, at: TopicPartition) -> int | None:
        """The offset of the first parked record of a partition, or None."""
        parked = self._parked.get(at)
        return parked[0][1].offset if parked else None

    @property
    def anybody(self) -> bool:
        """Whether any delivery waits."""
        return bool(self._keys)

    def must_follow(self, record: Record) -> bool:
        """Whether an earlier delivery of its key waits."""
        origins = self._keys.get((record.partition, record.key))
        return bool(origins) and min(origins or ()) < origin(record)

    def ended(self, record: Record) -> None:
        """The delivery has ended: whoever follows it may run."""
        place = (record.partition, record.key)
        if origins := self._keys.get(place):
            origins.discard(origin(record))
            if not origins:
                del self._keys[place]

    def again(self, record: Record, word: Again, now_ms: int) -> Draft:
        """The record as it goes to a retry topic, and notes that its key waits. now_ms: the clock."""
        tried = attempts(record) + (not word.follows)
        level = self._level.get(record.topic, -1)
        wanted = level + 1
        if word.after is not None:
            wanted = next((i for i, delay in enumerate(self.plan.delays) if delay >= word.after), len(self.plan.delays) - 1)
        headers = (
            *((name, value) for name, value in record.headers if name not in _OURS),
            (ATTEMPT, str(tried).encode()),
            (ORIGIN, str(origin(record)).encode()),
            (SINCE, str(min(self.since(record), now_ms)).encode()),
        )
        self._waits(record)
        topic = self.plan.topics[min(wanted, len(self.plan.topics) - 1)]
        return Draft(topic, record.key, record.value, headers, record.partition, digest=record.digest)

    def gives_up(self, record: Record, now_ms: int) -> bool:
        """Whether its time is over."""
        return now_ms - self.since(record) >= self.plan.give_up * 1000

    @staticmethod
    def since(record: Record) -> int:
        """When it was first appended, ms since 1970."""
        header = record.header(SINCE)
        return record.time if header is None else int(header)

    def _waits(self, record: Record) -> None:
        self._keys.setdefault((record.partition, record.key), set()).add(origin(record))
