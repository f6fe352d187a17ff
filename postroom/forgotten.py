"""Groups whose positions the log has forgotten. Kafka drops those of a group without members after offsets.retention.minutes, 7 days as
shipped (of a group at work those of topics that it reads by hand, which `streams.kafka.consumer` therefore writes anew); a role that began
again at the beginning would process everything again that the topics still have."""

from collections.abc import Iterable, Iterator, Sequence

from streams.errors import Fatal
from streams.log import Reader
from streams.record import TopicPartition


def forgotten(log: Reader, groups: Iterable[tuple[str, Sequence[str]]], outcomes: str) -> Iterator[str]:
    """A sentence for each group that has no position where there are records, although the site has been at work: there are outcomes.
    Before the first one, records wait at most for a first start, and the beginning is the right place. Raises Transient, Fatal."""
    worked: bool | None = None
    for group, topics in groups:
        standings = log.standings(group, topics)
        for topic in topics:
            extents = log.extents(topic)
            left = sum(extent.end - extent.first for number, extent in enumerate(extents) if TopicPartition(topic, number) not in standings)
            if not left:
                continue
            worked = any(extent.end for extent in log.extents(outcomes)) if worked is None else worked
            if worked:
                yield (
                    f"group {group} has no position in {topic}, where there are {left} records: the broker has forgotten it "
                    "(offsets.retention.minutes), and from the beginning they would all be processed again. Set the position where the "
                    "group shall go on (kafka-consumer-groups --reset-offsets)"
                )
                break


def refuse_forgotten(log: Reader, groups: Iterable[tuple[str, Sequence[str]]], outcomes: str) -> None:
    """Raises Fatal with the first such sentence."""
    for words in forgotten(log, groups, outcomes):
        raise Fatal(words)
