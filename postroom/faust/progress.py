"""How far a group may stand in each partition while its deliveries end in any order.

Not Faust's own account, which is wrong in two ways that lose mails when a worker is killed (0.15.3): with the first delivery of a
partition still under way it commits past it once later ones are done, and a record behind a gap in the offsets, such as every
transaction leaves, counts as done before it is.
"""

import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from streams.record import TopicPartition


class _Partition:
    """pending: offsets fetched, from the first that is not done. done: those of them that are. read_to: the offset behind what was
    fetched, with what the transactions left between. committed: where the group stands."""

    def __init__(self, committed: int) -> None:
        self.pending: deque[int] = deque()
        self.done: set[int] = set()
        self.read_to = committed
        self.committed = committed

    @property
    def position(self) -> int:
        return self.pending[0] if self.pending else self.read_to


class Progress:
    """The partitions that are ours. Shared by the thread that fetches and the event loop that works."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[TopicPartition, _Partition] = {}

    def assigned(self, positions: Mapping[TopicPartition, int]) -> None:
        """Partitions are ours, and the group stands there in them."""
        with self._lock:
            self._partitions |= {at: _Partition(offset) for at, offset in positions.items()}

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """They are not ours any more."""
        with self._lock:
            for at in partitions:
                self._partitions.pop(at, None)

    def fetched(self, at: TopicPartition, offsets: Collection[int], read_to: int) -> None:
        """Records were fetched, in order; the next fetch begins at `read_to`. What was fetched before is known still."""
        with self._lock:
            if (partition := self._partitions.get(at)) is not None:
                partition.pending.extend(offset for offset in offsets if offset >= partition.read_to)
                partition.read_to = max(partition.read_to, read_to)

    def done(self, at: TopicPartition, offset: int) -> None:
        """A delivery has ended. One of a partition that was given up meanwhile is nobody's concern here."""
        with self._lock:
            partition = self._partitions.get(at)
            if partition is None or not partition.pending or offset < partition.pending[0]:
                return
            partition.done.add(offset)
            while partition.pending and partition.pending[0] in partition.done:
                partition.done.discard(partition.pending.popleft())

    def is_pending(self, at: TopicPartition, offset: int) -> bool:
        """Whether a record was fetched for us and is not done."""
        with self._lock:
            partition = self._partitions.get(at)
            return partition is not None and partition.position <= offset < partition.read_to and offset not in partition.done

    def owns(self, at: TopicPartition) -> bool:
        """Whether the partition is ours."""
        return at in self._partitions

    def standing(self, at: TopicPartition) -> int | None:
        """Where the group stands. None for a partition that is not ours."""
        with self._lock:
            partition = self._partitions.get(at)
            return None if partition is None else partition.committed

    def moved(self) -> dict[TopicPartition, int]:
        """Where the group may move: the first offset that is not done, of each partition where that is beyond where it stands."""
        with self._lock:
            return {at: place.position for at, place in self._partitions.items() if place.position > place.committed}

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """The group stands there now."""
        with self._lock:
            for at, offset in positions.items():
                if (partition := self._partitions.get(at)) is not None:
                    partition.committed = max(partition.committed, offset)
