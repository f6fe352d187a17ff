"""Calls of the program that need not load it: processes forked from one which has loaded it and done nothing.

Loading takes a quarter of a second, and the tests call the program some thousand times. All else is as if it had been executed: a
process of its own with its arguments, environment and standard streams, that ends as an interpreter ends. What goes on in the
background, and what is about starting the program, is executed (`Place.start`, `Place.command`).
"""

import atexit
import gc
import json
import os
import pkgutil
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

POSTROOM = str(Path(sys.executable).with_name("postroom"))
PATIENCE = 240.0
"""Seconds after which a call that has not ended is killed."""


class Called(NamedTuple):
    """What became of a call. status: its exit status, or minus the signal that ended it. kib: the most memory that it had."""

    status: int
    stdout: bytes
    stderr: bytes
    kib: int


def call(arguments: Sequence[str], data: bytes, environment: Mapping[str, str]) -> Called:
    """Calls `postroom ARGUMENTS` in the current folder, with `data` on its standard input. Raises TimeoutError after PATIENCE."""
    server: _Server | None = getattr(_of_thread, "server", None)
    if server is None:  # one a thread, so that none waits for another's call
        server = _of_thread.server = _Server()
    try:
        return server.call(arguments, data, environment)
    except BaseException:
        del _of_thread.server  # it may still be about to answer
        raise


_of_thread = threading.local()


class _Server:
    """The process that has loaded the program, seen from the tests."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="calls-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        command = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], bufsize=0)

    def call(self, arguments: Sequence[str], data: bytes, environment: Mapping[str, str]) -> Called:
        """See `call`."""
        streams = [self._folder / name for name in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.write_bytes(b"")
        streams[0].write_bytes(data)
        asked = {"arguments": arguments, "environment": dict(environment), "folder": os.getcwd(), "streams": list(map(str, streams))}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        child = int(self._process.stdout.readline())
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            os.kill(child, 9)
            self._process.stdout.readline()
            said = streams[2].read_text("utf-8", "replace")[-3000:]
            raise TimeoutError(f"postroom {' '.join(arguments)}: not ended after {PATIENCE:.0f} s\n{said}")
        status, kib = self._process.stdout.readline().split()
        return Called(int(status), streams[1].read_bytes(), streams[2].read_bytes(), int(kib))


def _serve() -> bool:
    """Forks a process for each line on standard input, until there is none. Whether this is such a process."""
    for line in iter(sys.stdin.buffer.readline, b""):
        child = os.fork()
        if not child:
            _become(**json.loads(line))
            return True
        os.write(1, b"%d\n" % child)
        _, status, usage = os.wait4(child, 0)
        os.write(1, b"%d %d\n" % (os.waitstatus_to_exitcode(status), usage.ru_maxrss))
    return False


def _become(arguments: Sequence[str], environment: Mapping[str, str], folder: str, streams: Sequence[str]) -> None:
    """This process as one of the console script."""
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR), number)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = [POSTROOM, *arguments]
    sys.path[0] = str(Path(POSTROOM).parent)
    main = sys.modules["__main__"]  # processes that it starts in turn take it for what they are to load
    main.__file__, main.__spec__ = POSTROOM, None


def _load() -> None:
    """Every module of the program but what Faust has in it, which patches what it finds and runs in the background only."""
    for root in ("streams", "topology", "handlers", "postroom"):
        for module in pkgutil.walk_packages(import_module(root).__path__, f"{root}."):
            if "faust" not in module.name:
                import_module(module.name)
    gc.freeze()  # or each process would write to every page of it when it looks for cycles


if __name__ == "__main__":
    _load()
    if _serve():
        import_module("postroom.cli").main()
