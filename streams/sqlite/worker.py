"""A process that works on the log, named so that others on the same machine can see at once whether it is alive."""

import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple


class _Process(NamedTuple):
    """What tells one process from all others: the boot, the pid namespace, the pid, and when it started (a pid comes again)."""

    boot: str
    namespace: str
    pid: str
    start: str


def new_worker_id() -> str:
    """An id for a log that this process has opened."""
    process = _Process(_boot(), _namespace(), str(os.getpid()), _start(str(os.getpid())) or "")
    return "/".join((*process, uuid.uuid4().hex))


def is_alive(worker: str, expires: float, now: float) -> bool:
    """Whether a worker may still work. expires and now: seconds on CLOCK_MONOTONIC. In our own pid namespace a dead process is seen
    at once; from elsewhere the end of its lease must be waited for, as must that of a process that hangs."""
    boot, namespace, pid, start, _ = worker.split("/")
    if boot != _boot():
        # The machine was started since. (SQLite's shared memory binds all users of a file to one machine.)
        return False
    if namespace and namespace == _namespace() and start != _start(pid):
        return False
    return expires > now


class Heartbeat:
    """Renews the worker's lease from a thread of its own, so that a decision that takes long loses nothing.

    renew: queues the writing of the new end of the lease. One that failed is tried again at the next beat; while one waits for the
    disk, no other is queued."""

    def __init__(self, session: float, renew: Callable[[], "Future[Any]"]) -> None:
        self._pause = session / 4
        self._renew = renew
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops renewing."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        under_way = self._renew()
        while not self._stop.wait(self._pause):
            if under_way.done():
                under_way = self._renew()


def monotonic() -> float:
    """Seconds since the machine was started, the same in all its processes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _namespace() -> str:
    """The inode of the pid namespace, or "" where the system has none; then leases alone decide."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return ""


def _start(pid: str) -> str | None:
    """When that process was started (field 22 of proc_pid_stat(5)), or None if it is gone or a zombie. The fields are counted from
    behind the command's name, which may hold blanks and parentheses."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]
