"""Where everything stood before fsck read anything."""

from collections.abc import Collection

from postroom.reading.pending import sources, standing
from streams.log import Reader
from streams.record import Record, TopicPartition
from topology.records import Topics


class Cut:
    """The ends of mail.raw, then the positions of all groups.

    log_id and topics: whose. raw: the extent of each partition of mail.raw. standing: the offset that each group on a mail's way
    reads next. stranded: where nobody will come for what waits: topics of handlers that are not known, and partitions whose group
    stands before the first record that is kept, for its role stops there with a clear word.
    """

    def __init__(self, log: Reader, topics: Topics, known_handlers: Collection[str] | None) -> None:
        there = log.topics()
        self.raw = log.extents(topics.raw) if topics.raw in there else []
        self.standing: dict[TopicPartition, int] = {}
        self.stranded: set[TopicPartition] = set()
        self.waiting_topics: list[str] = []
        """Where deliveries wait for a later try, or for their handler's word to be settled."""
        routed = set()
        for source in sources(topics, there):
            name = source.stage.partition(":")[2]
            unknown = bool(name) and known_handlers is not None and name not in known_handlers
            for partition, (offset, extent) in enumerate(zip(standing(log, source), log.extents(source.topic), strict=True)):
                at = TopicPartition(source.topic, partition)
                self.standing[at] = offset
                if unknown or offset < extent.first:
                    self.stranded.add(at)
            if name:
                routed.add(topics.routed(name))
                self.waiting_topics.append(source.topic)
        self.routed_topics = sorted(routed)
        self.waiting_topics = [topic for topic in self.waiting_topics if topic not in routed]

    def not_reached(self, record: Record) -> bool:
        """Whether the record's group has still to process it."""
        return not record.carried and record.offset >= self.standing[record.at]
