"""Appends a second by 1, 8 and 64 connections (threads that wait for their answer), beside bare SQLite group commits of the same size and
durability: one writer, the same octets a row, one transaction a group of as many rows as there are connections."""

import logging
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.figures import arrival, machine, say, site

SECONDS = 4.0


def main(seconds: float = SECONDS) -> None:
    """Prints a pair of figures for each number of connections."""
    logging.disable(logging.ERROR)
    print(f"appends: {machine()}, 4 KB mails, synchronous=FULL")
    for connections in (1, 8, 64):
        bare = bare_commits(connections, seconds)
        ours = appends(connections, seconds)
        say(f"bare SQLite, a transaction of {connections}", bare, "mails/s")
        say(f"accepted and durable, {connections} connections", ours, "mails/s", f"{ours / bare:.2f} of bare")


def appends(connections: int, seconds: float) -> float:
    """Mails a second through the acceptor, each connection with one mail at a time."""
    with site() as here:
        arrivals = [arrival(here, number) for number in range(60_000)]
        end = time.perf_counter() + seconds
        counts = [0] * connections

        def connection(which: int) -> None:
            number = which
            while time.perf_counter() < end and number < len(arrivals):
                here.acceptor.accept([arrivals[number]])
                number += connections
                counts[which] += 1

        started = time.perf_counter()
        threads = [threading.Thread(target=connection, args=(which,)) for which in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - started)


def bare_commits(group: int, seconds: float) -> float:
    """Rows a second of 4 KB, committed in groups."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        database = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE mails (id INTEGER PRIMARY KEY, head BLOB, mail BLOB)")
        row = (b"h" * 700, b"m" * 4096)
        count, started = 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO mails (head, mail) VALUES (?, ?)", [row] * group)
            database.execute("COMMIT")
            count += group
        elapsed = time.perf_counter() - started
        database.close()
        return count / elapsed


if __name__ == "__main__":
    main()
