"""A batch of deliveries in the hands of a handler, the words on them, and what every kind of handler is to the stage."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

from handlers.word import GONE, Word
from streams.record import Record
from streams.stage import FOLLOWS, Again
from topology.facts import Facts
from topology.ports import Archive


class Batch:
    """Deliveries, by their place in the batch from 0, and the words said of them.

    todo: the places to call, in order. judge: hears each word as it is said, and gives whether to go on. The methods may be called
    from several threads.
    """

    def __init__(
        self, records: Sequence[Record], facts: Sequence[Facts], archive: Archive, todo: Sequence[int], judge: Callable[[int, Word], bool]
    ) -> None:
        self.facts = facts
        self.todo = todo
        self.words: dict[int, Word] = {}
        self.stopped = False
        """Nothing more is to be begun. What is under way ends, and its words count."""
        self._records = records
        self._archive = archive
        self._judge = judge
        self._waiting: set[bytes | None] = set()
        self._lock = threading.Lock()

    def begin(self, place: int) -> bytes | Word:
        """The bytes of a mail that is about to be handled, or the word on one that is not to be. Raises Hold when the archive is away."""
        record = self._records[place]
        if record.key in self._waiting:
            return FOLLOWS
        reference = self.facts[place].envelope.archived
        if reference is None:
            return record.value
        raw = self._archive.get(reference)
        return GONE if raw is None else raw

    def say(self, place: int, word: Word) -> None:
        """The word on a delivery. After Again, the later deliveries of its key in this batch are not begun."""
        with self._lock:
            self.words[place] = word
            if isinstance(word, Again):
                self._waiting.add(self._records[place].key)
            if not self._judge(place, word):
                self.stopped = True

    def stop(self) -> None:
        """Nothing more is begun."""
        self.stopped = True

    def lanes(self, concurrency: int) -> deque[deque[int]]:
        """What is to do and has no word yet, in lanes that may run side by side: one a key, or a single one without concurrency."""
        left = [place for place in self.todo if place not in self.words]
        if concurrency == 1:
            return deque([deque(left)] if left else [])
        by_key: dict[bytes | None, deque[int]] = {}
        for place in left:
            by_key.setdefault(self._records[place].key, deque()).append(place)
        return deque(by_key.values())


class Handler(ABC):
    """What the stage calls: a Python function, a Maildir, a command."""

    name: str
    pause_after: int = 20
    """See `handlers.breaker`."""

    @abstractmethod
    def handle(self, batch: Batch) -> None:
        """Says a word on each delivery of `batch.todo`, those of one key in order. Blocks until it has. Stops early when the batch
        is stopped. Raises Hold when a whole part is away; what was said before counts."""

    def afresh(self) -> None:  # noqa: B027 - only the Maildir remembers anything
        """From now on deliveries may come that were handled before."""

    def check(self) -> None:  # noqa: B027 - not every kind has something to look at
        """Looks, without changing anything, whether the handler can work. Raises HandlerSettingsError."""

    def close(self) -> None:  # noqa: B027 - likewise
        """Lets go of threads and connections."""
