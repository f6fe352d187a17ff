"""Whether the disks have room for more mail."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streams.errors import Full

_FRESH = 1.0
"""Seconds for which an answer is believed: at some thousand mails a second, one question to the file system is enough."""
_log = logging.getLogger("postroom.ingest")


class Room:
    """Watches the free space of the file systems that hold the log and the archive. Thread-safe."""

    def __init__(self, min_free: int, watched: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        """min_free: octets that must stay free (setting `ingest.min_free`), 0 for no watch. watched: files or folders, which need
        not exist yet."""
        self._min_free = min_free
        self._watched = [*watched] if min_free else []
        self._clock = clock
        self._until = float("-inf")
        self._word: str | None = None

    def check(self) -> None:
        """Returns when there is room. Raises Full, naming the place and the setting."""
        now = self._clock()
        if now >= self._until:
            before, self._word = self._word, self.lack()
            if self._word and not before:
                _log.error("no more mail is taken until there is room: %s", self._word)
            self._until = now + _FRESH
        if self._word:
            raise Full(self._word)

    def lack(self) -> str | None:
        """What is wrong on one of the file systems just now, or None."""
        return next(filter(None, map(self._lack, self._watched)), None)

    def _lack(self, path: Path) -> str | None:
        """What is wrong on that file system, or None. One that cannot be asked is left to those who write to it."""
        for place in (path, *path.parents):
            try:
                found = os.statvfs(place)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return None
            free = found.f_bavail * found.f_frsize
            if free < self._min_free:
                asked = f"ingest.min_free = {self._min_free // 1_000_000} MB"
                return f"{place}: its disk has {free // 1_000_000} MB free, less than {asked}: make room there"
            return None
        return None
