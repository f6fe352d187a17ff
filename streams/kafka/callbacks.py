"""Steps that the client calls from within its own calls, and what they raise."""

from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition


class Callbacks:
    """Wraps steps for the client to call with partitions. What one raises is kept and raised by `check`, because the client mangles
    exceptions that pass through it."""

    def __init__(self) -> None:
        self._raised: BaseException | None = None

    def wrap(self, step: Callable[[list[TopicPartition]], None]) -> Callable[[Consumer, list[TopicPartition]], None]:
        """The step as the client calls it."""

        def called(_client: Consumer, partitions: list[TopicPartition]) -> None:
            try:
                step(partitions)
            except BaseException as error:  # noqa: BLE001 - raised again by check
                self._raised = self._raised or error

        return called

    def check(self) -> None:
        """Raises the first thing that a step raised since the last check. To be called after each call into the client."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
