"""Who brings a replay in: one process at a time, or mails would be brought in twice.

Whoever begins or resumes one writes so to mail.replays, and looks there before each batch. On SQLite a lock beside the log leaves no gap
between the look and the batch; on Kafka one of a batch remains.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock

from postroom.copying.ends import file_of
from postroom.replay.marker import ended_or_taken, take_up
from postroom.site import Site
from streams.errors import Transient
from streams.log import Log
from streams.sqlite.border import border
from streams.sqlite.schema import open_lock
from topology.records import Topics


class Superseded(Exception):
    """Somebody else has taken the replay up, or it was finished or given up."""


class Claim:
    """The word on mail.replays that this process brings a replay in. generation: its number; since: the offset behind that word."""

    def __init__(self, log: Log, topics: Topics, generation: int, since: int) -> None:
        self._log, self._topics = log, topics
        self.generation = generation
        self._since = since

    @classmethod
    def renewed(cls, log: Log, topics: Topics, generation: int) -> "Claim":
        """Takes a replay up that was interrupted. Raises LogError."""
        return cls(log, topics, generation, take_up(log, topics, generation))

    def demand(self) -> None:
        """Raises Superseded where the word of another stands behind ours, and LogError."""
        end = self._log.extents(self._topics.replays)[0].end
        if end == self._since:
            return
        if why := ended_or_taken(self._log, self._topics, self.generation, self._since):
            raise Superseded(f"replay {self.generation} {why} meanwhile: this call stops here, and what it brought in stays")
        self._since = end


@contextmanager
def alone(site: Site) -> Iterator[None]:
    """On SQLite alone among the programs that begin, resume or give up a replay on this log; on Kafka it does nothing. Raises Transient
    where another is at it."""
    file = file_of(site)
    if file is None:
        yield
        return
    with border(file):
        lock = open_lock(file, file.with_name(f"{file.name}.{site.topics.prefix}.replay-lock"))
    try:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise Transient(f"{file}: another `postroom replay` is bringing mails in just now: let it finish, or end it first") from None
        yield
    finally:
        os.close(lock)
