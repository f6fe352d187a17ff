"""On which of the machine's cores threads run (Linux).

Threads that take the interpreter in turn gain nothing from several cores, and each change of core costs what the last one's caches held.
The Kafka client's own threads need no interpreter: they do better elsewhere.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_before: list[set[int]] = []
"""The cores that the process had before `keep`. One process has one set of cores, as it has one interpreter."""


def keep(core: int) -> None:
    """The calling thread, and those that it and they start from here on, stay on one core. To be called once, before others are started.
    Raises ValueError, where the process may not run on that core or the system cannot keep threads on one."""
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("this system cannot keep threads on a core")
    cores = os.sched_getaffinity(0)
    if core not in cores:
        raise ValueError(f"there is no core {core} for this process, but {', '.join(map(str, sorted(cores)))}")
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        raise ValueError(f"core {core} cannot be kept: {error.strerror}") from error
    _before.append(cores)


@contextmanager
def anywhere() -> Iterator[None]:
    """Threads and processes that are started within it may run on every core that the process had before `keep`."""
    if not _before:
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _before[0])
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
