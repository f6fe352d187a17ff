"""How far each group is behind, and how long retention leaves it to catch up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.log import Extent, Reader, Standing
from streams.record import TopicPartition


@dataclass(frozen=True, slots=True)
class Lag:
    """A group in one of its topics.

    behind: offsets from where the group stands to the end; Kafka's transactions take offsets too, so on Kafka it is a little more
    than the records. oldest: append time, in ms, of the first record that it has not passed; None when there is none.
    retention_left: seconds until retention by age may take that record (by size, `retention.bytes`, it may go sooner); 0 where it may
    already; None where nothing waits or everything is kept. expired: offsets that retention took before the group had passed them:
    its role stops there.
    """

    group: str
    topic: str
    behind: int
    oldest: int | None
    retention_left: float | None
    expired: int


def lag(log: Reader, groups: Mapping[str, Sequence[str]], retention: Mapping[str, float | None], now_ms: int) -> Iterator[Lag]:
    """Each group in each of its topics. retention: seconds by topic; None or absent for ever. One record is read of each partition
    where something waits. Raises TopicMissing, Transient."""
    for group, topics in groups.items():
        # First where the group stands: what comes in meanwhile is then counted, and the difference is never below 0.
        standings = log.standings(group, topics)
        for topic in topics:
            yield _one(log, group, topic, standings, retention.get(topic), now_ms)


def _one(log: Reader, group: str, topic: str, standings: Mapping[TopicPartition, Standing], retention: float | None, now_ms: int) -> Lag:
    behind, expired, oldest = 0, 0, None
    for number, extent in enumerate(log.extents(topic)):
        offset = _stands(standings.get(TopicPartition(topic, number)), extent)
        expired += max(0, extent.first - offset)
        start = max(extent.first, offset)
        if start >= extent.end:
            continue
        behind += extent.end - start
        first = next(iter(log.read(topic, number, start=start)), None)  # None: only marks of transactions are left
        if first is not None:
            oldest = first.time if oldest is None else min(oldest, first.time)
    left = None if retention is None or oldest is None else max(0.0, retention - (now_ms - oldest) / 1000)
    return Lag(group, topic, behind, oldest, 0.0 if expired else left, expired)


def _stands(standing: Standing | None, extent: Extent) -> int:
    """A group without a position begins at the beginning."""
    return extent.first if standing is None else standing.offset
