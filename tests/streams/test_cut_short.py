"""A log whose process ended in the middle of moving the write-ahead log into the main file: by kill -9, or on a full disk."""

import subprocess
import sys
from pathlib import Path

from streams.log import TopicSpec
from streams.record import Draft
from streams.sqlite import SqliteLog

CUT_SHORT = """
import os, resource, signal, sqlite3, sys

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM batches")
# The first page, which says how many there are, is the first to be moved; then the file may not grow.
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    connection.execute("PRAGMA wal_checkpoint")
except sqlite3.OperationalError:
    os._exit(9)
"""


def test_a_log_that_is_shorter_than_it_says_because_the_rest_is_still_in_the_write_ahead_log_opens(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    log.create([TopicSpec("in", 1)])
    log.append([Draft("in", None, b"%d" % number * 4000) for number in range(500)])
    ended = subprocess.run([sys.executable, "-c", CUT_SHORT, str(path)], check=False)
    assert ended.returncode == 9
    again = SqliteLog(path)
    assert len(list(again.read("in"))) == 500
    again.append([Draft("in", None, b"more")])
    again.close()
    log.close()
