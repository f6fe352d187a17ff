"""The same decide functions on Faust: an agent that decides mail by mail and sends what is to be written. It is at least once."""

import logging

import faust

from benchmarks.peers.deciding import told
from streams.kafka.engine import COMMIT_INTERVAL
from streams.record import Record


def main() -> None:
    """Works until it is ended."""
    here, stage, group = told()
    app = faust.App(
        group,
        broker=here.settings.log.url,
        value_serializer="raw",
        broker_commit_interval=COMMIT_INTERVAL,
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        datadir=str(here.config.folder / "faust"),
    )
    source = app.topic(here.topics.raw, value_serializer="raw")
    names = (here.topics.screened, here.topics.authenticated, here.topics.routed("sink"))
    topics = {name: app.topic(name, value_serializer="raw", key_serializer="raw") for name in names}

    @app.agent(source)
    async def decide(stream: faust.StreamT[bytes]) -> None:
        async for event in stream.events():
            message = event.message
            headers = tuple((event.headers or {}).items())
            record = Record(
                message.topic, message.partition, message.offset, int(message.timestamp * 1000), message.key, message.value, headers
            )
            (result,) = stage.process([record])
            assert isinstance(result, list)
            for draft in result:
                await topics[draft.topic].send(
                    key=draft.key,
                    value=draft.value,
                    headers={name: bytes(value) for name, value in draft.headers},
                    partition=draft.partition,
                )

    faust.Worker(app, loglevel=logging.ERROR, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
