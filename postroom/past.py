"""What a group had done of a partition, for what its stages remember of it.

A window of time ends where the group stands, and not now: a group that is behind its topic for longer than the window finds again what
came just before the records that it goes on with.
"""

from collections.abc import Iterator

from streams.log import Reader
from streams.record import Record, TopicPartition


def standing(log: Reader, group: str, at: TopicPartition, now_ms: int) -> tuple[int, int]:
    """Where the group stands in a partition: the offset, and the time of the record there in ms, which is `now_ms` at the most, and at the
    end of the partition. Raises TopicMissing, Transient, Fatal."""
    found = log.standings(group, [at.topic]).get(at)
    offset = found.offset if found else 0
    ahead = next(log.read(at.topic, at.partition, start=offset, values=False), None)
    return offset, min(ahead.time, now_ms) if ahead else now_ms


def passed(log: Reader, group: str, at: TopicPartition, window_ms: int, now_ms: int) -> Iterator[Record]:
    """The records of a partition that the group has passed, from `window_ms` before the time of the one at which it stands. Raises as
    `standing`."""
    end, time = standing(log, group, at, now_ms)
    return log.read(at.topic, at.partition, since=max(0, time - window_ms), end=end)
