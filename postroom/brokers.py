"""The log on Kafka, as the settings name it. Loaded only where log.url says so: librdkafka takes its time."""

import logging
from contextlib import suppress

from postroom.settings import Config
from streams.kafka import KafkaLog
from streams.kafka.slots import Slot, claim

SLOTS = ".slots"
"""The folder of lock files beside the settings, by which workers of one host find a slot each."""


class SlottedLog(KafkaLog):
    """A log that gives its worker's slot back when it closes."""

    slot: Slot

    def close(self) -> None:
        """See `streams.log.Log.close`."""
        super().close()
        self.slot.release()


def kafka_log(config: Config, wanted: str | None) -> SlottedLog:
    """Opens the log. wanted: the slot that the command line names. Raises Fatal, where no slot is to be had or the settings are wrong."""
    settings = config.settings.log
    folder = config.folder / SLOTS
    with suppress(OSError):  # `claim` tells what is wrong where the folder matters
        folder.mkdir(exist_ok=True)
    slot = claim(folder, wanted)
    logging.getLogger("postroom").debug("this worker has the slot %s", slot.name)
    log = SlottedLog(
        settings.url.removeprefix("kafka://").rstrip("/"),
        config=settings.client,
        transactional_prefix=f"postroom.{settings.prefix}",
        slot=slot.name,
    )
    log.slot = slot
    return log
