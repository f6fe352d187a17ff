"""Where the records of the old log went: a table on disk, because a log of millions of mails must not cost memory."""

import sqlite3
from collections.abc import Iterable

_CACHE_KIB = 65_536


class Places:
    """Old places and new ones, by topic. The file has no name, so it is gone when the program is, however that ends; SQLite puts it
    where SQLITE_TMPDIR or TMPDIR says. 30 bytes a record."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
        self._table.execute("CREATE TABLE places (topic INTEGER, old INTEGER, new INTEGER, PRIMARY KEY (topic, old)) WITHOUT ROWID")
        self._numbers: dict[str, int] = {}

    def note(self, topic: str, moves: Iterable[tuple[int, int, int, int]]) -> None:
        """Records of a topic: old partition and offset, new partition and offset."""
        number = self._numbers.setdefault(topic, len(self._numbers))
        rows = [(number, _place(partition, offset), _place(*new)) for partition, offset, *new in moves]
        self._table.execute("BEGIN")
        self._table.executemany("INSERT INTO places VALUES (?, ?, ?)", rows)
        self._table.execute("COMMIT")

    def find(self, topic: str, partition: int, offset: int) -> tuple[int, int] | None:
        """The new partition and offset of a record; None where none was noted."""
        number = self._numbers.get(topic)
        if number is None:
            return None
        row = self._table.execute("SELECT new FROM places WHERE topic = ? AND old = ?", (number, _place(partition, offset))).fetchone()
        return (row[0] >> 44, row[0] & (1 << 44) - 1) if row else None

    def close(self) -> None:
        """Gives the room back."""
        self._table.close()


def _place(partition: int, offset: int) -> int:
    return partition << 44 | offset
