"""The event log in one SQLite file: the embedded engine of `streams.log`.

schema.py      the file: tables, creation, the check that it is ours
slots.py       how records are numbered
batches.py     how records become rows, many in one, and come back
headers.py     a record's headers as bytes
append.py      storing records inside a transaction
tail.py        records that this process has just written
removal.py     taking records out: erasure, retention
writer.py      the one thread that writes: group commit, lock file, checkpoints
reading.py     pages, time search, single records
membership.py  workers, leases, who owns which partition
worker.py      a process that has the log open
share.py       what a member owns of its group
consumer.py    a member of a group
copying.py     filling a new file from another log
shared.py      what a log and its consumers have in common
engine.py      SqliteLog, which puts these together
border.py      SQLite's errors in our words
"""

from streams.sqlite.engine import SqliteLog

__all__ = ["SqliteLog"]
