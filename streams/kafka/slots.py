"""Which of the workers this process is: its slot, which names its transactional ids.

A worker that was killed and starts again must find its slot again, so that the brokers end at once what it left open. Two that run at a
time must not share one: each would end the other's transactions.
"""

import fcntl
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from streams.errors import Fatal

VARIABLE = "POSTROOM_SLOT"
_MOST = 1_000


class Slot:
    """A slot that is ours until `release`, or until the process ends, however it ends."""

    def __init__(self, name: str, lock: IO[str] | None) -> None:
        self.name = name
        self._lock = lock

    def release(self) -> None:
        """Lets another process have it."""
        if self._lock is not None:
            self._lock.close()


def claim(folder: Path, wanted: str | None = None, environ: Mapping[str, str] = os.environ) -> Slot:
    """Takes a slot.

    folder: where lock files are kept, beside the settings. wanted: the slot's name as --slot gives it; else POSTROOM_SLOT names it;
    else it is the host's name and the lowest number whose lock file nobody holds. Where a slot is named, a folder that cannot be
    written is no hindrance: who names slots (a container platform) sees to it that they differ. Raises Fatal where the named slot is
    taken, its name is none, or the folder cannot be written.
    """
    name = wanted or environ.get(VARIABLE)
    if name:
        return _named(folder, name)
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    for number in range(_MOST):
        try:
            lock = _lock(folder, f"{host}-{number}")
        except OSError as error:
            raise Fatal(f"no lock file can be kept in {folder}: {error.strerror}. Name the slot with --slot or {VARIABLE}") from error
        if lock is not None:
            return Slot(f"{host}-{number}", lock)
    raise Fatal(f"{_MOST} workers run already from {folder}")


def _named(folder: Path, name: str) -> Slot:
    if not re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII):
        raise Fatal(f"--slot or {VARIABLE}: {name!r} is no name for a slot: letters, digits, dot, dash and underscore, at most 100")
    try:
        lock = _lock(folder, name)
    except OSError:
        return Slot(name, None)
    if lock is None:
        raise Fatal(f"slot {name} is taken by another process of this host: give each worker one of its own (--slot, {VARIABLE})")
    return Slot(name, lock)


def _lock(folder: Path, name: str) -> IO[str] | None:
    """The lock file, held; None where another process holds it. Raises OSError where there can be none."""
    file = (folder / f".slot-{name}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
