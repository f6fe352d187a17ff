"""The talk with one client: SMTP (RFC 5321) and LMTP (RFC 2033), over aiosmtpd's connection.

The commands are our own where aiosmtpd 1.4.6 is too kind or too slow for a listener that must neither lose nor let in a mail: it
takes commands that end in a bare LF, shows exceptions to the client, reads addresses by another grammar than ours, counts a mail's
lines but not its line ends, drops what a client that half-closes has sent, and knows no status a recipient.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiosmtpd.smtp import SMTP

from postroom.ingest.appender import Stored
from postroom.ingest.limits import Desk
from postroom.ingest.wire import NO_ROOM, STOPPING, HangUp, Refused, Wire
from streams.errors import Full, LogError
from topology.address import envelope_key, key

_LINGER = 2.0
"""Seconds that a client we hang up on has to read why."""
# A path in angle brackets, quoted strings within it, and what follows (RFC 5321 section 4.1.2). The alternatives exclude one another.
_PATH = re.compile(r'[ \t]*<(?:@[^:<>\s]*:)?((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*)>(?:[ \t]+(\S.*))?', re.DOTALL)
_log = logging.getLogger("postroom.ingest")

BUSY = "421 4.3.2 too many connections"
LATER = "451 4.3.0 the mail cannot be stored now; try again later"


class Dialogue(SMTP):
    """One connection. Says 250 to a mail only when it is durable."""

    line_length_limit = 64 << 10  # of the reader's buffer, not of lines

    def __init__(self, desk: Desk, *, lmtp: bool) -> None:
        super().__init__(None, hostname=desk.hostname, timeout=desk.limits.life, loop=asyncio.get_running_loop())
        self._desk = desk
        self._limits = desk.limits
        self._lmtp = lmtp
        self._greeted = False
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._mistakes = 0
        self._unsaid: list[str] = []
        self._ending = False
        self._commands: dict[str, Callable[[str], Awaitable[str]]] = {
            **({"LHLO": self._hello} if lmtp else {"EHLO": self._hello, "HELO": self._helo}),
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }

    # What aiosmtpd calls

    def eof_received(self) -> bool | None:
        """A client that has said all may still listen: its mail is answered."""
        return asyncio.StreamReaderProtocol.eof_received(self)

    def _timeout_cb(self) -> None:
        """The connection has lived long enough. A client that does not even read our answers is left to itself."""
        self.wind_up()
        self._timeout_handle = self.loop.call_later(self._limits.data, self.abort)

    async def _handle_client(self) -> None:
        self._wire = Wire(self._reader, self._desk)
        self._desk.open.add(self)
        self._desk.idle.clear()
        try:
            await self._talk()
        except HangUp as end:
            await self._hang_up(end)
        except ConnectionError:
            pass
        except Exception:  # noqa: BLE001 - a fault of ours ends one talk and not the listener
            _log.exception("a connection to the %s listener failed", self._via)
            with suppress(ConnectionError):
                await self._hang_up(HangUp(LATER))
        finally:
            self._writer.close()
            self._desk.open.discard(self)
            if not self._desk.open:
                self._desk.idle.set()

    # The talk

    @property
    def _via(self) -> str:
        return "lmtp" if self._lmtp else "smtp"

    def wind_up(self) -> None:
        """Ends the talk when what is in hand has its answer; at once when nothing is."""
        self._ending = True
        if self._wire.waiting and self._handler_coroutine:
            self._handler_coroutine.cancel()

    def abort(self) -> None:
        """Ends it now, whatever is in hand: the client, without an answer, will hand it over again."""
        if self.transport:
            self.transport.abort()  # type: ignore[attr-defined]

    async def _talk(self) -> None:
        if len(self._desk.open) > self._limits.connections:
            raise HangUp(BUSY)
        await self._say(f"220 {self.hostname} {'LMTP' if self._lmtp else 'ESMTP'} postroom")
        while True:
            line = await self._next_line()
            verb, _, argument = line.partition(" ")
            command = self._commands.get(verb.upper())
            await self._say(await command(argument.strip()) if command else self._unknown())

    async def _say(self, answer: str, *, now: bool = False) -> None:
        """Answers; at once, or together with the next answers when the client has sent commands ahead (RFC 2920 section 3.2)."""
        self._unsaid.append(answer)
        if now or not self._wire.more:
            said = "\r\n".join(self._unsaid)
            self._unsaid.clear()
            await self.push(said)

    async def _next_line(self) -> str:
        """The next command. Raises HangUp."""
        if self._ending or self._desk.stopping:
            raise HangUp(STOPPING)
        try:
            return await self._wire.line()
        except asyncio.CancelledError:
            if self.transport is None:  # the connection is gone
                raise
            raise HangUp(STOPPING) from None

    async def _hang_up(self, end: HangUp) -> None:
        """Says the last word, and sees to it that it is heard: closing with unread input would throw it away (RFC 1122 section
        4.2.2.13). What the client still sends is not looked at."""
        if end.answer is None:
            return
        await self._say(end.answer, now=True)
        if not end.agreed:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(_LINGER):
                    self._writer.write_eof()
                    await self._wire.drain()

    def _forget(self) -> None:
        self._sender = None
        self._recipients = []

    # The commands: each gives its answer.

    async def _hello(self, name: str) -> str:
        if not name:
            return "501 5.5.4 say who you are"
        self._forget()
        self._greeted = True
        offers = ("PIPELINING", f"SIZE {self._limits.max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
        return "\r\n".join(("250-" + self.hostname, *("250-" + offer for offer in offers[:-1]), "250 " + offers[-1]))

    async def _helo(self, name: str) -> str:
        if not name:
            return "501 5.5.4 say who you are"
        self._forget()
        self._greeted = True
        return f"250 {self.hostname}"

    async def _mail(self, argument: str) -> str:
        if not self._greeted:
            return f"503 5.5.1 send {'LHLO' if self._lmtp else 'EHLO'} first"
        if self._sender is not None:
            return "503 5.5.1 one mail at a time"
        path = _path(argument, "FROM:")
        if path is None:
            return "501 5.5.4 expected MAIL FROM:<address>"
        sender, parameters = path
        if envelope_key(sender) is None:
            return "553 5.1.7 the sender's address cannot be read"
        for parameter in parameters.upper().split():
            if refusal := self._mail_parameter(*parameter.partition("=")):
                return refusal
        try:
            self._desk.room.check()
        except Full:
            return NO_ROOM
        self._sender = sender
        return "250 2.1.0 ok"

    def _mail_parameter(self, name: str, equals: str, value: str) -> str | None:
        """Why a parameter of MAIL is refused."""
        if name == "SIZE" and value.isascii() and value.isdigit() and len(value) <= 20:
            return self._wire.too_large() if int(value) > self._limits.max_size else None
        if (name == "BODY" and value in ("7BIT", "8BITMIME")) or (name == "SMTPUTF8" and not equals):
            return None
        return f"{'501' if name in ('SIZE', 'BODY', 'SMTPUTF8') else '555'} 5.5.4 parameter not understood"

    async def _rcpt(self, argument: str) -> str:
        if self._sender is None:
            return "503 5.5.1 send MAIL first"
        path = _path(argument, "TO:")
        if path is None:
            return "501 5.5.4 expected RCPT TO:<address>"
        recipient, parameters = path
        if parameters:
            return "555 5.5.4 parameter not understood"
        if recipient.lower() == "postmaster":  # the one name without a domain that every server takes (RFC 5321 section 4.5.1)
            recipient += f"@{self.hostname}"
        if key(recipient) is None:
            return "553 5.1.3 the address cannot be read"
        if len(self._recipients) >= self._limits.recipients:
            return "452 4.5.3 too many recipients; send the others their own copy"
        self._recipients.append(recipient)
        return "250 2.1.5 ok"

    async def _data(self, argument: str) -> str:
        if argument or self._sender is None or not self._recipients:
            refusal = "501 5.5.4 DATA takes no argument" if argument else "503 5.5.1 send MAIL and RCPT first"
            if self._wire.more:  # a client that did not wait for our word would have its mail read as commands
                raise HangUp(refusal)
            return refusal
        sender, recipients = self._sender, self._recipients
        self._forget()
        await self._say("354 go ahead; end with CR LF . CR LF", now=True)
        try:
            raw = await self._wire.mail()
            answer = _answer(await self._desk.appender.submit(raw, sender, recipients, self._via))
        except Refused as refused:
            answer = refused.answer
        except HangUp as end:
            raise HangUp(end.answer and self._for_each(recipients, end.answer)) from None
        finally:
            self._wire.let_go()
        return self._for_each(recipients, answer)

    def _for_each(self, recipients: list[str], answer: str) -> str:
        """LMTP has one answer for each recipient that was accepted (RFC 2033 section 4.2), SMTP one for all."""
        return "\r\n".join([answer] * len(recipients)) if self._lmtp else answer

    async def _rset(self, _argument: str) -> str:
        self._forget()
        return "250 2.0.0 ok"

    async def _noop(self, _argument: str) -> str:
        return "250 2.0.0 ok"

    async def _vrfy(self, _argument: str) -> str:
        return "252 2.1.5 not told; send the mail"

    async def _quit(self, _argument: str) -> str:
        raise HangUp("221 2.0.0 goodbye", agreed=True)

    def _unknown(self) -> str:
        self._mistakes += 1
        if self._mistakes > self._limits.mistakes:
            raise HangUp("421 4.7.0 too many unknown commands")
        return "500 5.5.1 command not recognised"


def _path(argument: str, keyword: str) -> tuple[str, str] | None:
    """The path of MAIL or RCPT without its brackets and source route (RFC 5321 section 4.1.1.3), and the parameters; None when it is
    none."""
    match = _PATH.fullmatch(argument, len(keyword)) if argument[: len(keyword)].upper() == keyword else None
    return (match[1], match[2] or "") if match else None


def _answer(stored: Stored) -> str:
    """What a client hears of its mail. The reasons are for our log."""
    if isinstance(stored, Full):
        return NO_ROOM
    if isinstance(stored, LogError):
        return LATER
    return f"250 2.0.0 stored as {stored}"
