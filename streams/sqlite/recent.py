"""Values that were just written or read, kept in memory: one group after another asks for them."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

LIMIT = 16 << 20
"""Bytes of values: some thousand mails, more than a chain is ahead of the handlers of its process."""


class Recent:
    """Values by their digests, first in, first out. Thread-safe; a digest stands for the same bytes for ever, so none is ever stale."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._gate = threading.Lock()
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    def found(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those of these values that are there."""
        values = self._values
        with self._gate:
            return {digest: values[digest] for digest in digests if digest in values}

    def keep(self, values: Mapping[bytes, bytes]) -> None:
        """Keeps these, and gives up the oldest where that is too much."""
        with self._gate:
            for digest, value in values.items():
                if digest not in self._values and len(value) <= self._limit >> 4:  # so that one alone does not push out all others
                    self._values[digest] = value
                    self._size += len(value)
            while self._size > self._limit:
                _, gone = self._values.popitem(last=False)
                self._size -= len(gone)
