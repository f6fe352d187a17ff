"""Octets from a client: command lines and mails, with their line ends held to CR LF (RFC 5321 section 2.3.8), within limits."""

import asyncio
from collections.abc import AsyncIterator

from postroom.ingest.limits import Desk

_CHUNK = 64 << 10
_END = b"\r\n.\r\n"
"""The end of a mail (RFC 5321 section 4.1.1.4); its first CR LF may be that of the DATA command."""

BARE = "550 5.5.2 a line ends in a bare CR or LF; the mail was not accepted"
LONG_LINE = "500 5.5.2 line too long"
NO_ROOM = "452 4.3.1 no room for the mail now; try again later"
STOPPING = "421 4.3.2 this service is stopping"
TOO_LARGE = "552 5.3.4 the mail is larger than {} octets"
TOO_SLOW = "421 4.4.2 too slow"


class HangUp(Exception):
    """The talk ends. answer: our last word, or None when there is nobody to hear it. agreed: the client asked for it, and sends no
    more."""

    def __init__(self, answer: str | None, *, agreed: bool = False) -> None:
        super().__init__(answer)
        self.answer = answer
        self.agreed = agreed


class Refused(Exception):
    """This mail is not taken; the talk goes on. answer: what the client hears."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class Wire:
    """What one client sends. waiting: for a command, so that the talk may be ended at this moment by cancelling it."""

    def __init__(self, reader: asyncio.StreamReader, desk: Desk) -> None:
        self._reader = reader
        self._desk = desk
        self._limits = desk.limits
        self._ahead = bytearray()  # read, and not yet looked at
        self._held = 0  # octets of the mail that is being received or stored
        self.waiting = False

    @property
    def more(self) -> bool:
        """The client has sent another command ahead."""
        return b"\n" in self._ahead

    async def line(self) -> str:
        """The next command without its line end; octets that are no UTF-8 as surrogate escapes. Raises HangUp."""
        while (end := self._ahead.find(b"\n")) < 0:
            if len(self._ahead) > self._limits.line:
                raise HangUp(LONG_LINE)
            await self._wait()
        line = bytes(self._ahead[: end + 1])
        del self._ahead[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise HangUp("500 5.5.2 a command must end in CR LF, and have no other CR")
        if len(line) > self._limits.line:
            raise HangUp(LONG_LINE)
        return line[:-2].decode("utf-8", "surrogateescape")

    async def mail(self) -> bytes:
        """The mail that follows, as sent, dot-stuffing undone; its octets are counted as in hand until `let_go`. Raises Refused when it
        was read to its end for nothing, HangUp when what follows must not be read."""
        try:
            async with asyncio.timeout(self._limits.data):
                stuffed = await self._stuffed()
        except TimeoutError:
            raise HangUp(TOO_SLOW) from None
        breaks = stuffed.count(b"\r\n")
        if stuffed.count(b"\n") != breaks or stuffed.count(b"\r") != breaks:
            raise HangUp(BARE)
        raw = stuffed.removeprefix(b".").replace(b"\r\n.", b"\r\n")
        if len(raw) > self._limits.max_size:
            raise Refused(self.too_large())
        return raw

    def let_go(self) -> None:
        """The mail is no longer in hand."""
        self._desk.in_hand -= self._held
        self._held = 0

    def too_large(self) -> str:
        """The answer to a mail over the limit."""
        return TOO_LARGE.format(self._limits.max_size)

    async def drain(self) -> None:
        """Reads what still comes, to its end, and throws it away."""
        while await self._reader.read(_CHUNK):
            pass

    async def _stuffed(self) -> bytes:
        """The mail without the dot at its end, dots still doubled. What is too much is read and thrown away."""
        most = self._limits.max_size * 4 // 3 + len(_END)  # lines of one dot grow by a third on the wire
        mail = bytearray()
        refusal: str | None = None
        async for piece in self._pieces():
            if refusal is None:
                mail += piece
                refusal = self._hold(len(piece)) if len(mail) <= most else self.too_large()
            if refusal is not None:
                mail.clear()
                self.let_go()
        if refusal is not None:
            raise Refused(refusal)
        with memoryview(mail) as view:
            return bytes(view[: -len(b".\r\n")])

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The octets up to and with the end of the mail. What follows stays ahead: commands that were sent without waiting."""
        before = b"\r\n"
        while True:
            piece = bytes(self._ahead) or await self._read()
            self._ahead.clear()
            end = (before + piece).find(_END)
            if end >= 0:
                rest = end + len(_END) - len(before)
                self._ahead += piece[rest:]
                yield piece[:rest]
                return
            before = (before + piece[-4:])[-4:]
            yield piece

    def _hold(self, octets: int) -> str | None:
        """Counts what all connections have in hand; the refusal when it is too much."""
        self._held += octets
        self._desk.in_hand += octets
        return NO_ROOM if self._desk.in_hand > self._limits.in_hand else None

    async def _wait(self) -> None:
        """Waits for a command, or more of it. Raises HangUp; CancelledError when the talk is to end."""
        self.waiting = True
        try:
            async with asyncio.timeout(self._limits.command):
                self._ahead += await self._read()
        except TimeoutError:
            raise HangUp(TOO_SLOW) from None
        finally:
            self.waiting = False

    async def _read(self) -> bytes:
        """Some octets. Raises HangUp when there will be no more."""
        octets = await self._reader.read(_CHUNK)
        if not octets:
            raise HangUp(None)
        return octets
