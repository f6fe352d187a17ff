"""What a listener bears of its clients, and what its connections share."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from postroom.ingest.appender import Appender
from postroom.ingest.room import Room

if TYPE_CHECKING:
    from postroom.ingest.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets and seconds. max_size: of a mail. recipients: of a mail (DESIGN.md section 3). line: of a command. connections: at one
    time. in_hand: of all mails that are being received or stored, together (the work on them takes up to three times as much).
    command: until the next command (RFC 5321 section 4.5.3.2.7 asks for 5 minutes). data: for the whole of a mail. life: after which a
    connection must be made anew. mistakes: unknown commands before we hang up."""

    max_size: int
    recipients: int = 100
    line: int = 2048
    connections: int = 200
    in_hand: int = 64 << 20
    command: float = 300.0
    data: float = 600.0
    life: float = 3600.0
    mistakes: int = 10

    @classmethod
    def of(cls, max_size: int) -> Self:
        """The limits for mails of that size: room for at least four of the largest."""
        return cls(max_size, in_hand=max(64 << 20, 4 * max_size))


@dataclass(slots=True)
class Desk:
    """What the connections of one listener share; used in its event loop only. in_hand: octets of mails being received or stored.
    stopping: take no further mail. idle: set while no connection is open."""

    appender: Appender
    room: Room
    limits: Limits
    hostname: str
    open: "set[Dialogue]" = field(default_factory=set)
    in_hand: int = 0
    stopping: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)
