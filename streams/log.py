"""The log's contract. `tests/contract` states it as one suite, and every engine passes it.

A ladder, each step adding one promise: `Reader` looks, `Log` appends, `Consumer` works for a group and commits.
All methods raise only `streams.errors` for what the log itself does wrong. Every object may be used from one thread at a
time, except `Log.append`, which any number of threads may call at once (their appends share a transaction where the engine can).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from streams.errors import Fatal
from streams.record import Appended, Draft, Headers, Position, Record, TopicPartition


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is to be. partitions never change once it is there. retention: seconds, or None for the engine's default;
    replication: None for the broker's own. config: further topic settings of the broker (SQLite ignores both)."""

    name: str
    partitions: int
    retention: float | None = None
    replication: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)


class Extent(NamedTuple):
    """The offsets of a partition that can be read: first is the oldest kept, end is one past the newest committed."""

    first: int
    end: int


class Standing(NamedTuple):
    """Where a group stands in a partition: the next offset it will read, and the note beside it ("" for none)."""

    offset: int
    note: str


class Revision(NamedTuple):
    """What a record that is revised is to hold from then on; see `Log.revise`."""

    value: bytes
    headers: Headers


class Batch(NamedTuple):
    """What `Consumer.poll` brings. records: in order per partition, none carried. positions: for every partition that moved, the
    offset after the last record of this batch in it, carried ones that were passed over included; commit these."""

    records: list[Record]
    positions: dict[TopicPartition, int]


class Reader(ABC):
    """Looks at a log without a group. Sees committed records only. Holds no snapshot longer than a page."""

    id: str
    """The log's id: made at creation, the same for all who open it (Kafka: the cluster's id)."""

    @abstractmethod
    def topics(self) -> dict[str, int]:
        """Topics that exist, each with its number of partitions."""

    def partitions(self, topic: str) -> int:
        """The number of a topic's partitions, 0 where there is no such topic. On a cluster that has thousands of topics this costs a
        hundredth of `topics`."""
        return self.topics().get(topic, 0)

    @abstractmethod
    def extents(self, topic: str) -> list[Extent]:
        """The readable offsets of each partition, in the order of partitions. Raises TopicMissing."""

    @abstractmethod
    def read(
        self,
        topic: str,
        partition: int | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
        since: int | None = None,
        until: int | None = None,
        values: bool = True,
    ) -> Iterator[Record]:
        """Records of a topic, in order per partition (one partition after another when `partition` is None), carried ones
        included. start and end are offsets (end exclusive), since and until append times in ms (until exclusive). values: False
        leaves values and digests out (b"" and None), which is cheaper where they are large. Ends at what was committed when the
        reading of the partition began; does not wait for more. Raises TopicMissing."""

    @abstractmethod
    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """Single records, in the order asked for; cheap when positions ascend within a partition. None for one that is gone:
        erased, expired, or of another log."""

    @abstractmethod
    def standings(self, group: str, topics: Iterable[str]) -> dict[TopicPartition, Standing]:
        """Where a group stands, without joining it. Partitions where it has no position yet are left out. Topics that do
        not exist are left out."""


class Consumer(ABC):
    """A member of a consumer group, reading `topics` of equal partition counts.

    Partition i of every one of its topics belongs to the same member at a time, who alone works on it until it lets go,
    dies, or freezes past its session. `on_assigned` and `on_revoked` are called from within `poll` and `close` (in the
    caller's thread) with partition numbers; on_revoked is called before the partitions are given up, so the caller can
    finish or drop what it has in hand, and a commit in it still succeeds.
    """

    @abstractmethod
    def poll(self, limit: int, timeout: float) -> Batch:
        """The next records, at most `limit`, of the partitions that are ours and not paused, each partition from where the
        group stood when we got it, each record once (until `rewind`). Blocks up to `timeout` seconds when there are none
        (0: does not wait); an empty batch may still carry positions. Keeps our membership alive, as does a thread of the
        engine's own: a long decision between two polls loses nothing unless it exceeds the engine's session limit.
        Raises Transient, Fatal, PositionExpired."""

    @abstractmethod
    def wake(self) -> None:
        """Has a `poll` that waits come back with what there is: at once, or within a tenth of a second. Where none waits, the next one does
        not either. For any thread; returns at once."""

    @abstractmethod
    def commit(
        self, outputs: Sequence[Draft], positions: Mapping[TopicPartition, int], notes: Mapping[TopicPartition, str] | None = None
    ) -> "Future[None]":
        """Appends outputs and moves the group to `positions` as one atomic step; a crash leaves both or neither, and readers
        see neither before. notes: what to put beside the position (absent partitions in `positions` get ""). Returns at once;
        the future is done when the step is durable, or raises Fenced (somebody else owns one of the partitions: nothing was
        stored), Transient (nothing was stored), TooLarge (nothing was stored) or Fatal. Commits of one consumer become
        durable in the order they were given; once one has failed, those given after it fail too, until `rewind`."""

    @abstractmethod
    def note(self, notes: Mapping[TopicPartition, str]) -> None:
        """Writes a note beside the group's position, which stays. Returns when it is durable. Raises as `commit`'s future."""

    @abstractmethod
    def notes(self, partition: int) -> dict[TopicPartition, Standing]:
        """Where the group stood in each topic's partition of that number, with the notes found there, when we got it or, if that was
        later, when we went back to it (`rewind`)."""

    @abstractmethod
    def rewind(self) -> None:
        """Forgets what was polled and not committed: the next poll brings it again, from where the group stands. Ends the
        state of failure after a commit that failed. Ownership is asked for anew where it was lost."""

    @property
    @abstractmethod
    def fenced(self) -> bool:
        """Whether every commit fails until `rewind`: one has failed, or others took partitions that were ours. To be looked at after a
        poll, because what is decided meanwhile is decided for nothing, and partitions that were taken do not come back before."""

    @abstractmethod
    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """No more records from these until `resume`, or until the partition is given up; the group's position and ownership stay."""

    @abstractmethod
    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Records from these again."""

    @abstractmethod
    def seek(self, at: TopicPartition, offset: int) -> None:
        """The next poll brings records of that partition from `offset` on. The group's position stays."""

    @property
    @abstractmethod
    def assigned(self) -> frozenset[int]:
        """The partition numbers that are ours, as of the last poll."""

    @abstractmethod
    def close(self) -> None:
        """Gives the partitions up (calling on_revoked) and leaves the group, so that others take over at once."""


Rebalanced = Callable[[frozenset[int]], None]
"""Called with the partition numbers that were gained, or are about to be given up."""


def _nothing(_partitions: frozenset[int]) -> None:
    """Does nothing; the default for who keeps no state by partition."""


class Log(Reader):
    """A log that can be written and worked on."""

    revisable: ClassVar[bool] = False
    """Whether `revise` works: what is stored can be taken out again. A topic of Kafka keeps its records until retention."""

    hands_on: ClassVar[bool] = False
    """Whether a consumer may be given a record that this process wrote as it was written: the same key, value and headers, no copies."""

    turns: ClassVar[float] = 0.005
    """Seconds for which threads best take the interpreter in turn (`sys.setswitchinterval`) in a program that works in batches and has
    somebody waiting for its answers: Python's default, but where calls of the engine give it up so often that who answers would
    mostly wait to have it back. It costs the batches some percent."""

    @abstractmethod
    def create(self, topics: Sequence[TopicSpec]) -> None:
        """Creates the topics that do not exist; returns when they can be used. Leaves existing ones as they are. Raises
        Transient, Fatal."""

    @abstractmethod
    def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        """Appends all of them or none, and returns when they are durable; or raises (Transient, Full, TooLarge, Fatal), and
        nothing in between. Thread-safe. A draft whose `unique` id the log knows already is not stored again."""

    @abstractmethod
    def consumer(
        self,
        group: str,
        topics: Sequence[str],
        *,
        on_assigned: Rebalanced = _nothing,
        on_revoked: Rebalanced = _nothing,
    ) -> Consumer:
        """Joins a group. A group that is new stands at the beginning of its topics (written when it is created, so that
        nothing appended later is missed). Raises TopicMissing, Transient, Fatal."""

    @abstractmethod
    def ensure_group(self, group: str, topics: Sequence[str]) -> None:
        """Writes the group's start, the beginning of the topics, for every partition where it has none."""

    def revise(self, revisions: Mapping[Position, Revision | None], outputs: Sequence[Draft] = ()) -> None:
        """Takes contents out of stored records, and appends outputs, as one atomic and durable step. Each record gets the value and the
        headers of its revision, and keeps its key, time and offset; with None it goes, and its offset stays empty: `fetch` gives None,
        and readers and groups pass over it. Bytes that were stored once for several records stay for those that are not revised.
        Positions where no record is are passed over, so the same call may be made again. What was taken out is overwritten where it
        stood; `scrub` does the rest. Raises Transient, TooLarge, and Fatal where the engine is not `revisable`."""
        raise Fatal("the records of this log cannot be changed: they stay until retention takes them")

    def scrub(self) -> bool:
        """Clears away what journals of the engine still hold of what `revise` took out. False where somebody who was reading kept it
        from that; call again. Blocks while others write, and some seconds at most for readers. Raises Transient."""
        return True

    def trim(self, retention: Mapping[str, float]) -> Iterator[tuple[str, int]]:
        """Enforces retention, where the engine does not do so by itself: drops records older than so many seconds, by topic, from the
        beginning of each partition. Nothing is dropped that a group has not passed. A little at a time, each step durable and no longer
        than a commit, so others go on meanwhile; gives the topic and how many records went after each, and may be left between two.
        Topics that do not exist are passed over. Raises Transient."""
        return iter(())

    @abstractmethod
    def close(self) -> None:
        """Lets go of files and connections. Appends under way finish or raise first."""
