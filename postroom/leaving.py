"""The end of the process, when a handler's code has threads that do not end.

The interpreter waits for those that are no daemons, and for those of every ThreadPoolExecutor, `asyncio.to_thread` among them, however long
they take. All that is ours has ended by then, so they are waited for a little and no more.
"""

import logging
import os
import sys
import threading
import time
from contextlib import suppress

log = logging.getLogger("postroom.run")

GRACE = 5.0
"""Seconds that other people's threads have to end."""


def leave_in_time(status: int, grace: float = GRACE) -> None:
    """Called when nothing of ours is left to do: the process ends with this status, whoever has threads that go on. To be followed by
    the end of the main thread."""
    if threading.active_count() > 1:
        threading.Thread(target=_leave, args=(status, grace), name="leaving", daemon=True).start()


def _leave(status: int, grace: float) -> None:
    time.sleep(grace)
    # An idle thread of an executor has been told to end by now.
    if names := sorted(thread.name for thread in threading.enumerate() if _is_waited_for(thread)):
        log.warning("ending, though threads of a handler's code still run: %s", ", ".join(names))
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _is_waited_for(thread: threading.Thread) -> bool:
    if thread is threading.main_thread():
        return False
    # Those of an executor are daemons where a daemon has made them, and are waited for all the same.
    executors = sys.modules.get("concurrent.futures.thread")
    return not thread.daemon or thread in getattr(executors, "_threads_queues", ())
