"""As whom the group knows us: the member id and generation that go with every commit, so that the brokers fence a zombie (KIP-447).

The client lets one thread at a time call a consumer, and holds the others off while one polls. So the thread that works with the
consumer takes its word here, and the thread that commits reads it.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from confluent_kafka import Consumer

from streams.errors import Fenced


class Membership:
    """The membership of one consumer. Wrap each call that polls the consumer in `inside`."""

    def __init__(self, consumer: Consumer, group: str) -> None:
        self.inside = Lock()
        self._consumer = consumer
        self._group = group
        self._known: tuple[str | None, Any] = (None, None)
        self._wanted = False
        self._leaving = False

    @property
    def member(self) -> str | None:
        """The member id as of the last `renew`; None while we are in no group."""
        return self._known[0]

    def renew(self) -> None:
        """Asks the consumer anew (40 µs). To be called by the thread that works with it.

        The id is read before and after: one that changed in between leaves metadata that may be of neither, and metadata without
        a member id would be taken by Kafka from anybody.
        """
        if self._leaving:
            return
        try:
            before = self._consumer.memberid() or None
            metadata = self._consumer.consumer_group_metadata()
            after = self._consumer.memberid() or None
        except RuntimeError:  # "not available", while the client is leaving
            before, metadata, after = None, None, None
        self._known = (after, metadata) if before == after else (None, None)
        self._wanted = False

    def leave(self) -> None:
        """Leaves what is known as it is from now on. A client that closes calls back what has it give up, and may never answer there."""
        self._leaving = True

    def renew_if_wanted(self) -> None:
        """As `renew`, when the committing thread waits for it."""
        if self._wanted:
            self.renew()

    def metadata(self, member: str | None) -> Any:
        """What goes with a commit of work that was taken over as `member`. Raises Fenced when we are that member no more."""
        known, metadata = self._known
        if member is None or known != member:
            raise Fenced(f"group {self._group} gave our partitions to others, because it did not hear from us for its session")
        return metadata

    def renewed(self, member: str | None, used: Any, patience: float, stopped: Callable[[], bool]) -> bool:
        """Gets newer metadata than those `used`, which a rebalance made void, for the committing thread. Returns whether we still are
        that member. The working thread gives them when it polls; when it does not, it is outside of the consumer, and we may ask."""
        deadline = time.monotonic() + patience
        while self._known[1] == used and not stopped() and time.monotonic() < deadline:
            self._wanted = True
            if self.inside.acquire(timeout=0.02):
                try:
                    self.renew()
                finally:
                    self.inside.release()
        known, metadata = self._known
        return metadata != used and known == member
