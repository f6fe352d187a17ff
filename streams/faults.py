"""What a stage may raise to say what went wrong, and to whom it matters. `streams.runner` alone acts on these.

Any other exception is about one record: it ends as that record's failure, and the partition goes on.
"""

from typing import Self


class Hold(Exception):
    """A whole part is away (archive, database, all of DNS, the relay). The role pauses its partitions, keeps its membership,
    and tries the same batch again when `probe_after` seconds have passed, and so on until the part is back. No outcome is
    written meanwhile. part: its name, for the log line and the metrics."""

    def __init__(self, part: str, why: str, probe_after: float = 1.0) -> None:
        super().__init__(f"{part}: {why}")
        self.part = part
        self.why = why
        self.probe_after = probe_after

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, float]]:
        return type(self), (self.part, self.why, self.probe_after)


class Newer(Exception):
    """A record was written by a newer major version. The role stops with this word, and the record gets no outcome."""
