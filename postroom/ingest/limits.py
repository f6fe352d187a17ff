"""What a listener bears of its clients, and what its connections share."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postroom.ingest.appender import Appender
from postroom.ingest.room import Room

if TYPE_CHECKING:
    from postroom.ingest.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets and seconds. max_size: of a mail. recipients: of a mail (DESIGN.md section 3). line: of a command. connections: at one
    time. in_hand: of all mails that are being received or stored, together. command: until the next command (RFC 5321 section
    4.5.3.2.7 asks for 5 minutes). data: for the whole of a mail. life: after which a connection must be made anew. mistakes: unknown
    commands before we hang up."""

    max_size: int
    recipients: int = 100
    line: int = 2048
    connections: int = 200
    in_hand: int = 256 << 20
    command: float = 300.0
    data: float = 600.0
    life: float = 3600.0
    mistakes: int = 10


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
