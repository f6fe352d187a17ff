"""What a stage is to the runner: a function from records to what is to be written, and what to write when that fails."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from streams.record import Draft, Record


@dataclass(frozen=True, slots=True)
class Again:
    """This one delivery asks for time: try it again. after: seconds wished for, None for the usual delays. why: for the log and,
    when patience ends, for the outcome; timeout: this try ran out of time. follows: it was not run, because an earlier delivery of
    its key in the same batch waits (see `FOLLOWS`); that is no try."""

    why: str
    after: float | None = None
    timeout: bool = False
    follows: bool = False


FOLLOWS = Again("an earlier delivery of the same key waits", follows=True)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record cannot be processed. kind: `error`, the stage raised on it (`error` is what it raised); `crashed`, the process
    died on it and it was not run again; `gave-up` and `timeout`, its tries ended (on time out of time, or otherwise).
    attempts: how often it was tried. detail: words for people who run the mail."""

    kind: Literal["error", "crashed", "gave-up", "timeout"]
    error: BaseException | None = None
    attempts: int = 1
    detail: str = ""


Alive = Callable[[], None]
"""To be called in long work, as often as one likes. What it raises ends the work, and is to be let through."""


def nothing() -> None:
    """An Alive for who has all the time he wants."""


def between(records: Iterable[Record], alive: Alive) -> Iterator[Record]:
    """The records, with `alive` called before each."""
    for record in records:
        alive()
        yield record


Result = list[Draft] | Again
"""What a stage says of one record: what to write, or to try it again (only stages that have retry topics)."""


class Stage(ABC):
    """One step of a mail's way, run by `streams.runner` on batches of records of its source topics."""

    name: str
    """As in consumer groups, logs and metrics."""

    def assigned(self, partitions: frozenset[int], alive: Alive = nothing) -> None:  # noqa: B027 - most stages keep no state by partition
        """These partitions are ours now: build what is remembered of them, from the log, anew if need be. Called before their first
        record, for one partition after another. alive: to be called between records, since brokers give the partitions of who is not
        heard from to others; meanwhile `revoked` may be called for any partition."""

    def revoked(self, partitions: frozenset[int]) -> None:  # noqa: B027 - likewise
        """These partitions are somebody else's from now on: forget. Also called before `assigned` when the runner starts a
        partition afresh after a commit failed, and when `assigned` was ended."""

    @abstractmethod
    def process(self, records: Sequence[Record]) -> list[Result]:
        """One result a record, in their order; fewer, but at least one, when it takes long, or when it would raise on a later one: the
        first records then have theirs, which are committed, and the others come again. May block on I/O. Where a record gets Again,
        later records of its key in the batch must not be run, and get FOLLOWS: so order within a key holds. It may be called again for
        the same records, in other groupings or one by one, and must then come to the same results. Raises `faults.Hold` (a whole part
        is away), `faults.Newer`, or anything else, upon which the runner calls it one by one to find the record at fault."""

    @abstractmethod
    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        """What to write for a record that could not be processed. Must not raise on any record, and calls nobody's code."""
