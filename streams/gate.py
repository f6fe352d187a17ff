"""Lets the runners of a process work side by side, or one of them alone.

A record that is suspected of killing its process runs while no other runner of the process runs anything: else the death of one
would be laid to the record of another.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Shared by the runners of a process. patience: seconds that the one who is to be alone waits for those already at work; then it
    begins all the same, because a handler may be slow, and the log takes partitions away from those who wait too long."""

    def __init__(self, patience: float = 10.0) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Waits while somebody is to be alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until nobody else is inside, and keeps the others out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: not self._inside, self._patience)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
