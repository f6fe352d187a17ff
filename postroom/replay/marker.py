"""mail.replays: the marker of each replay, which says who brings in what, and why; a record each time that it is taken up again; and one
that it is finished.

A marker's offset + 1 is the generation of all that it brings in. One replay at a time brings in mails, so that no two choose the
same delivery: the next one waits until the one before is finished or abandoned.
"""

import getpass
import os
import socket
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

import orjson

from postroom.reading.selectors import Selectors
from postroom.replay.entry import Stage
from streams.log import Log, Reader
from streams.record import Draft
from topology.facts import to_ms
from topology.records import Topics

_VERSION = "1.0"
_BEGUN, _TAKEN, _FINISHED = b"postroom.replay", b"postroom.replay-taken", b"postroom.replay-finished"


class NoReplay(Exception):
    """There is no replay of that number on the log."""


class Busy(Exception):
    """Another replay is not finished."""

    def __init__(self, generation: int) -> None:
        super().__init__(
            f"replay {generation} is under way, or was interrupted: go on with `postroom replay --resume {generation}`, "
            f"or give it up with `postroom replay --abandon {generation}`; what it brought in stays"
        )


@dataclass(frozen=True, slots=True)
class Marker:
    """at: when it was applied, RFC 3339; what relative times in the selectors count from. who: user and machine; why: in the user's
    words. selectors: as given. ends: the end of each partition of mail.outcomes, behind which nothing is selected. limit: the most mails.
    counts: mails and deliveries that were chosen."""

    at: str
    who: str
    why: str | None
    selectors: Selectors
    start: Stage
    as_of: Literal["then", "now"]
    redo: bool
    replies: bool
    limit: int | None
    ends: tuple[int, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def at_ms(self) -> int:
        """`at` in ms since 1970."""
        return to_ms(self.at)

    def bounded(self, ends: tuple[int, ...], **counts: int) -> Self:
        """The same with its bounds and counts."""
        return replace(self, ends=ends, counts=counts)

    def append(self, log: Log, topics: Topics) -> int:
        """Writes it, durably, and returns the generation. Raises Busy, LogError."""
        refuse_if_busy(log, topics)
        given = {name: value for name, value in asdict(self.selectors).items() if value not in ((), None)}
        generation = _append(log, topics, _BEGUN, asdict(self) | {"selectors": given})
        try:
            refuse_if_busy(log, topics, before=generation)
        except Busy:  # one that was started in the same moment: it was first
            finish(log, topics, generation, {})
            raise
        return generation

    @classmethod
    def read(cls, log: Reader, topics: Topics, generation: int) -> Self:
        """The marker of a generation. Raises NoReplay."""
        found = None
        if generation > 0 and log.partitions(topics.replays):
            found = next((one for one in log.read(topics.replays, 0, start=generation - 1, end=generation)), None)
        if found is None or found.offset != generation - 1 or found.header("ce_type") != _BEGUN:
            raise NoReplay(f"there is no replay {generation} on this log (or its marker has expired)")
        return cls._of(orjson.loads(found.value))

    @classmethod
    def _of(cls, document: dict[str, Any]) -> Self:
        known: dict[str, Any] = {one.name: document[one.name] for one in fields(cls)}
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in document["selectors"].items()}
        return cls(**known | {"selectors": Selectors(**given), "ends": tuple(document["ends"])})


def refuse_if_busy(log: Reader, topics: Topics, before: int | None = None) -> None:
    """Raises Busy when a replay is not finished. before: of an earlier generation than this."""
    begun: dict[int, None] = {}
    for record in log.read(topics.replays, 0) if log.partitions(topics.replays) else ():
        if record.header("ce_type") == _BEGUN:
            begun[record.offset + 1] = None
        else:
            begun.pop(orjson.loads(record.value)["generation"], None)
    first = next(iter(begun), None)
    if first is not None and (before is None or first < before):
        raise Busy(first)


def take_up(log: Log, topics: Topics, generation: int) -> int:
    """Writes that this process goes on with a replay; the offset behind that word. Raises LogError."""
    # A release that does not know these records takes what is no marker for the end of the replay that `generation` names.
    return _append(log, topics, _TAKEN, {"generation": 0, "taken": generation, "by": f"{who()} (process {os.getpid()})"})


def ended_or_taken(log: Reader, topics: Topics, generation: int, since: int) -> str | None:
    """What was written of a replay from an offset on, in words: that it ended, or that somebody goes on with it; None for nothing."""
    for record in log.read(topics.replays, 0, start=since):
        document = orjson.loads(record.value)
        if record.header("ce_type") == _FINISHED and document["generation"] == generation:
            return "was finished or given up"
        if record.header("ce_type") == _TAKEN and document["taken"] == generation:
            return f"was taken up by {document['by']}"
    return None


def finish(log: Log, topics: Topics, generation: int, counts: dict[str, int]) -> None:
    """Writes that a replay is finished, or given up. counts: what it brought in. Raises LogError."""
    _append(log, topics, _FINISHED, {"generation": generation, "counts": counts})


def _append(log: Log, topics: Topics, kind: bytes, document: dict[str, Any]) -> int:
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", os.urandom(16).hex().encode()),
        ("ce_type", kind),
        ("ce_source", topics.source),
        ("content-type", b"application/json"),
    )
    value = orjson.dumps({"version": _VERSION} | document)
    (appended,) = log.append([Draft(topics.replays, None, value, headers, partition=0)])
    return appended.position.offset + 1


def who() -> str:
    """User and machine, as far as the system can tell."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
