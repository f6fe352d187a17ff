"""A real SMTP server as the relay, which can be told to misbehave."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Taken:
    """A mail that the relay took."""

    mail_from: str
    rcpt_to: list[str]
    options: list[str]
    content: bytes


@dataclass
class Moods:
    """How the relay answers. rcpt, data: address or a word of the mail -> the answer that it gets. hang_up: on mails with one of these
    words the connection is dropped without an answer; hang_up_on: likewise for these addresses. mail: the answer to
    MAIL. asked: the addresses at RCPT, in their order."""

    rcpt: dict[str, str] = field(default_factory=dict)
    data: dict[bytes, str] = field(default_factory=dict)
    hang_up: set[bytes] = field(default_factory=set)
    hang_up_on: set[str] = field(default_factory=set)
    mail: str | None = None
    taken: list[Taken] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    connections: int = 0

    async def handle_EHLO(self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]) -> list[str]:  # noqa: N802
        """Counts connections."""
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        """The null sender only."""
        if self.mail:
            return self.mail
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:  # noqa: N802
        """By address."""
        self.asked.append(address)
        if address in self.hang_up_on:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            await asyncio.sleep(0)
        if address in self.rcpt:
            return self.rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """By what stands in the mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        assert envelope.mail_from is not None
        if any(word in content for word in self.hang_up):
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            await asyncio.sleep(0)
            return "250 never heard"
        for word, answer in self.data.items():
            if word in content:
                return answer
        self.taken.append(Taken(envelope.mail_from, list(envelope.rcpt_tos), list(envelope.mail_options), content))
        return "250 OK"


@contextmanager
def relay(moods: Moods, port: int = 0, *, tls: SSLContext | None = None, implicit_tls: bool = False, **options: Any) -> Iterator[int]:
    """A relay on the loopback; gives its port. tls: its certificate, offered by STARTTLS unless implicit_tls. options: for the server."""
    port = port or free_port()
    if tls and not implicit_tls:
        options["tls_context"] = tls
    controller = Controller(moods, hostname="127.0.0.1", port=port, ssl_context=tls if implicit_tls else None, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def knows(user: str, password: str) -> Any:
    """An authenticator that takes one user."""

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        fits = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=fits, handled=False)

    return check
