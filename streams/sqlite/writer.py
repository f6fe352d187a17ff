"""The one thread of a process that writes to the file.

Whatever waits at the moment shares one transaction, hence one fsync (group commit). Other processes' writers queue on a lock file:
flock serves them in turn, where SQLite's own lock lets one starve. Checkpoints run under that lock too, so they never meet a writer
(https://www.sqlite.org/wal.html, "the WAL-reset bug").
"""

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from streams.errors import Fatal, LogError, Transient
from streams.sqlite import schema
from streams.sqlite.append import Heads, Placed, Stored, store
from streams.sqlite.batches import Pile
from streams.sqlite.border import border, translate

Step = Callable[[sqlite3.Connection], Any]
"""What a job does inside the transaction before its records are stored. If it raises a LogError, that job alone fails."""

MOST_RECORDS = 8192
"""Records that may share a transaction; what waits beyond gets the next one."""

MOST_BYTES = 64 << 20

LARGEST_WAL = 128 << 20
"""Bytes of write-ahead log. SQLite moves it into the main file at every commit that finds it longer than `schema.CHECKPOINT_PAGES`, and
begins it anew when no reader looks at it. Where readers that take turns have kept it from that for so long, we wait for them."""

TRIM_PATIENCE_MS = 500
"""How long. Ours look for some milliseconds at a time; for a foreign one that looks for minutes (a backup) the log goes on growing."""


class Written(NamedTuple):
    """What became of a job: what its step returned, and where its records went."""

    result: Any
    stored: Stored


class Job:
    """Something to be written, as a whole or not at all."""

    __slots__ = ("count", "future", "piles", "result", "size", "step")

    def __init__(self, step: Step | None, piles: Sequence[Pile]) -> None:
        self.step = step
        self.piles = piles
        self.count = sum(len(pile) for pile in piles)
        self.size = sum(pile.size + pile.size_of_contents for pile in piles)
        self.result: Any = None
        self.future: Future[Written] = Future()


class Writer:
    """Takes jobs from any thread, in order, and answers each when it is durable.

    clock: milliseconds since 1970. written: called after each commit with what it stored, before others may write. patience: seconds that
    `call` waits before it takes back a job that has not begun, because another process holds the lock file.
    """

    def __init__(self, path: Path, clock: Callable[[], int], written: Callable[[Sequence[Placed]], None], patience: float = 30.0) -> None:
        self._path = path
        self._clock = clock
        self._written = written
        self._patience = patience
        with border(path):
            self._connection = schema.connect(path, write=True)
            self.log_id = schema.log_id(self._connection)
            self._lock = schema.open_lock(path)
        self._wal = schema.wal_path(path)
        self._trim_at = LARGEST_WAL
        self._heads = Heads()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._open = True
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"writer of {path.name}", daemon=True)
        self._thread.start()

    def submit(self, step: Step | None = None, piles: Sequence[Pile] = ()) -> "Future[Written]":
        """Queues a job. The future is done when it is durable, or raises a LogError, and nothing was stored."""
        job = Job(step, piles)
        with self._gate:
            if not self._open:
                raise Fatal(f"{self._path}: the log is closed")
            self._queue.put(job)
        return job.future

    def call(self, step: Step | None = None, piles: Sequence[Pile] = ()) -> Written:
        """Writes and waits. Raises Transient when another process holds the lock file for too long; nothing was stored then."""
        future = self.submit(step, piles)
        try:
            return future.result(self._patience)
        except TimeoutError:
            if future.cancel():
                raise Transient(
                    f"{schema.lock_path(self._path)}: another process has held the lock for {self._patience:.0f} s; is it stopped?"
                ) from None
            return future.result()

    def close(self) -> None:
        """Finishes what waits, then lets go of the file. Idempotent."""
        with self._gate:
            if not self._open:
                return
            self._open = False
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                self._write(self._gather(job))
                self._trim()
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
        # SQLite moves the write-ahead log into the main file when the last connection of all processes closes, and makes sure of that.
        with suppress(sqlite3.Error):
            self._connection.close()
        os.close(self._lock)

    def _gather(self, job: Job | None) -> list[Job]:
        """That job and all that wait behind it, as far as they fit into one transaction; without those that were taken back."""
        jobs: list[Job] = []
        count = size = 0
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
                count, size = count + job.count, size + job.size
            if count >= MOST_RECORDS or size >= MOST_BYTES:
                return jobs
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs
        self._queue.put(None)  # the mark of the end, for _run
        return jobs

    def _write(self, jobs: list[Job]) -> None:
        """One transaction for all of them. A job whose step refuses fails alone; any other error fails them all."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._heads.begin(connection)
            going = [job for job in jobs if job.step is None or self._take_step(job, job.step)]
            stored, placed = store(connection, self._heads, [job.piles for job in going], self._clock)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the thread must live on
            self._roll_back()
            why: Exception = error
            if isinstance(error, sqlite3.Error):
                why = translate(error, self._path)
                why.__cause__ = error
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(why)
            return
        for job, where in zip(going, stored, strict=True):
            job.future.set_result(Written(job.result, where))
        self._written(placed)

    def _take_step(self, job: Job, step: Step) -> bool:
        """Runs a job's step; returns whether the job may go on."""
        connection = self._connection
        connection.execute("SAVEPOINT job")
        try:
            job.result = step(connection)
        except LogError as error:
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            job.future.set_exception(error)
            return False
        connection.execute("RELEASE job")
        return True

    def _roll_back(self) -> None:
        self._heads.forget()
        # SQLite has rolled back by itself after some errors (a full disk); then there is nothing to roll back.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _trim(self) -> None:
        with suppress(sqlite3.Error, OSError):
            size = self._wal.stat().st_size
            if size < self._trim_at:
                return
            self._connection.execute(f"PRAGMA busy_timeout = {TRIM_PATIENCE_MS}")
            (blocked, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout = {schema.PATIENCE_MS}")
            self._trim_at = size + LARGEST_WAL if blocked else LARGEST_WAL
