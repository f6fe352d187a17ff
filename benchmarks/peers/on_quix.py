"""The same decide functions on Quix Streams, exactly once, with our commit interval. Runs in the environment of `make peers`.

Its way is a function a message; each call decides one mail and gives its records, which go to their topics with their keys and headers.
"""

from collections.abc import Mapping
from typing import Any

from quixstreams import Application, message_context
from quixstreams.models import Serializer, TopicConfig

from benchmarks.peers.deciding import told
from streams.kafka.engine import COMMIT_INTERVAL
from streams.record import Draft, Record


class Value(Serializer):  # type: ignore[misc]
    """The bytes of a draft."""

    def __call__(self, value: Draft, ctx: object) -> bytes:
        return value.value


def main() -> None:
    """Works until it is ended."""
    here, stage, group = told()
    app = Application(
        here.settings.log.url.removeprefix("kafka://"),
        consumer_group=group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_INTERVAL,
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="ERROR",
    )
    partitions = TopicConfig(num_partitions=here.settings.log.topics.partitions, replication_factor=1)
    source = app.topic(here.topics.raw, value_deserializer="bytes", config=partitions)
    topics: Mapping[str, Any] = {
        name: app.topic(name, value_serializer=Value(), config=partitions)
        for name in (here.topics.screened, here.topics.authenticated, here.topics.routed("sink"))
    }

    def decide(value: bytes, key: bytes, timestamp: int, headers: list[tuple[str, bytes]]) -> list[Draft]:
        at = message_context()
        (result,) = stage.process([Record(at.topic, at.partition, at.offset, timestamp, key, value, tuple(headers))])
        assert isinstance(result, list)
        return result

    frame = app.dataframe(source).apply(decide, expand=True, metadata=True)
    frame = frame.set_headers(lambda draft, key, timestamp, headers: list(draft.headers))
    frame.to_topic(lambda draft, key, timestamp, headers: topics[draft.topic], key=lambda draft: draft.key)
    app.run()


if __name__ == "__main__":
    main()
