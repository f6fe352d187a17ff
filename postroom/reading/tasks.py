"""What fsck's processes are asked to do, and what they answer (see `postroom.reading.scan`)."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from postroom.reading.cut import Cut
from postroom.reading.faults import Evidence, Fault, Mail
from postroom.reading.references import References
from postroom.reading.spill import Bucket
from topology.records import Topics

MOST_NAMED = 1000
"""Mails without fault that are named."""

Kind = Literal["outcomes", "waiting", "routes", "authenticated", "screened", "raw", "messages"]
"""What is read of a topic. messages: only what it refers to in the archive."""


class Span(NamedTuple):
    """A stretch of a partition that is to be read."""

    kind: Kind
    topic: str
    partition: int
    start: int
    end: int


class Flush(NamedTuple):
    """Everything has been read: what was noted must be there for all."""


class Judge(NamedTuple):
    """A bucket is to be judged. first, end: its mails. taken: retention has meanwhile taken the records below that offset."""

    bucket: Bucket
    first: int
    end: int
    taken: int


class Gather(NamedTuple):
    """What was noted of the archive is to be given."""


@dataclass
class Scanned:
    """What reading a span found beside its notes. stray_count: records that belong to no mail of this log; strays: the first of them, as
    `fsck --json` tells them. evidence: the records of the mails that are looked at again."""

    stray_count: int = 0
    strays: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[tuple[int, int], Evidence] = field(default_factory=dict)


@dataclass
class Judged:
    """sound: the fates of the mails without fault. faulty: the others, each with its fate. faults: what is wrong with them. named: some of
    the mails without fault whose fate was asked for."""

    sound: Counter[str] = field(default_factory=Counter)
    faulty: dict[Mail, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    named: dict[Mail, str] = field(default_factory=dict)


Task = Span | Flush | Judge | Gather
Result = Scanned | Judged | References | None


@dataclass(frozen=True)
class Setup:
    """What all processes of a look share. ends: of the raw partitions, as last seen; horizon: the append time in ms up to which retention
    may have taken the end of a mail; routes_are_complete: it has taken no route; only: the mails to look at, None for all; references:
    whether what the archive has is noted; folder: for what does not fit into memory; naming: fates whose mails are to be named."""

    topics: Topics
    cut: Cut
    ends: tuple[int, ...]
    horizon: float
    routes_are_complete: bool
    only: frozenset[Mail] | None
    references: bool
    folder: Path
    naming: frozenset[str]
