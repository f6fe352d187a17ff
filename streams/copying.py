"""Filling a new log with the records of another: what an engine must be able to do for that, beside `streams.log.Log`.

Records keep their append times, which a log otherwise sets itself. The new log is whole with `finish` and not before: whatever
happens until then, nobody takes it for a log, and a later filling of the same place begins again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

from streams.errors import Fatal
from streams.log import Log, TopicSpec
from streams.record import Draft, TopicPartition

MARK = "copying"
"""Behind the prefix and a dot: the topic that stands on a broker as long as a log there is being filled, so that who looks knows."""


class Occupied(Fatal):
    """There is a log already where the new one is to be. Nothing was touched."""


class Target(ABC):
    """A log that is being filled, by one thread.

    The order of calls: `prepare`, then `write` and `hole`, then `seal`, then `stand`, `log` and `extents`, then `finish`. `close`
    at any time; before `finish` it leaves no whole log behind.
    """

    id: str
    """The new log's id, known after `prepare`."""

    @abstractmethod
    def prepare(self, topics: Sequence[TopicSpec], worn: Collection[TopicPartition], is_ours: Callable[[str], bool]) -> None:
        """Makes room: clears away what a filling that was killed left behind, and creates the topics. In `worn` partitions offset 0 is
        one that retention has taken. is_ours: whether a topic's name is one of such a log. Raises Occupied where there are records
        already, or somebody at work on them; Transient, Fatal."""

    @abstractmethod
    def write(self, drafts: Sequence[tuple[Draft, int]]) -> list[int]:
        """Stores drafts, each with its append time in ms, and gives their offsets. Every draft says its partition, and is stored behind
        what that has. A `unique` id that is there already is left out, and the record stored without. Raises TooLarge, Transient, Fatal."""

    @abstractmethod
    def hole(self, at: TopicPartition) -> int:
        """An offset behind what the partition has, where no record will ever be: a place for the references to one that was erased."""

    @abstractmethod
    def seal(self) -> None:
        """Nothing more is to be written: what was is durable now, and can be read through `log`."""

    @abstractmethod
    def stand(self, group: str, topics: Sequence[str], positions: Mapping[TopicPartition, int]) -> None:
        """Writes where a group stands in each partition of its topics: at these positions, elsewhere at the end."""

    @property
    @abstractmethod
    def log(self) -> Log:
        """The new log, to be looked at. Closed with the target."""

    @abstractmethod
    def finish(self) -> None:
        """The log is whole: from now on it is found in its place."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of files and connections. Idempotent."""
