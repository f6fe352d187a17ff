"""Keeps one broker for as long as some process of a test run uses it: `python -m tests.broker.keeper FOLDER`. See shared.py."""

import contextlib
import fcntl
import shutil
import sys
from pathlib import Path

from tests.broker.broker import Cluster
from tests.broker.shared import ADDRESS, START, USERS

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with Cluster(1) as cluster, (folder / USERS).open("a") as users:
        partial = folder / f"{ADDRESS}.new"
        partial.write_text(cluster.bootstrap)
        partial.rename(folder / ADDRESS)
        # Every user holds a shared lock, which the kernel takes back when its process ends, however it ends.
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / ADDRESS).unlink()
        # Unless somebody is on the way in, who then starts a keeper of his own here.
        with (folder / START).open("a") as start, contextlib.suppress(BlockingIOError):
            fcntl.flock(start, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
