"""The event log in one SQLite file: the embedded engine of `streams.log`.

schema.py      the file: tables, creation, the check that it is ours
slots.py       how records are numbered
batches.py     how records become rows, many in one, and come back
headers.py     a record's headers as bytes
append.py      storing records inside a transaction
writer.py      the one thread that writes: group commit, lock file, checkpoints
reading.py     pages, time search, single records
membership.py  workers, leases, who owns which partition
consumer.py    a member of a group
engine.py      SqliteLog, which puts these together
border.py      SQLite's errors in our words
"""

from streams.sqlite.engine import SqliteLog

__all__ = ["SqliteLog"]
