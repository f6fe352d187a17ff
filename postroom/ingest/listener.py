"""The LMTP and SMTP listeners: a socket, a thread with an event loop, and the talks in it."""

import asyncio
import errno
import os
import socket
import stat
import threading
from functools import partial
from pathlib import Path

from postroom.ingest.accept import Acceptor
from postroom.ingest.appender import Appender
from postroom.ingest.dialogue import Dialogue
from postroom.ingest.limits import Desk, Limits
from postroom.ingest.place import ListenerError, Place

_BACKLOG = 256
_SOCKET_MODE = 0o660
_HINTS = {
    errno.EADDRINUSE: "; end the program that listens there, or choose another place",
    errno.EACCES: "; ports below 1024 and other people's folders need rights",
}


class Listener:
    """A listener for one protocol at one place."""

    def __init__(self, place: Place, acceptor: Acceptor, *, lmtp: bool, limits: Limits | None = None) -> None:
        """place: see `place_of`. lmtp: whether it speaks LMTP, else SMTP."""
        self.setting, self._path, self._host, self._port = place
        self._lmtp = lmtp
        self._acceptor = acceptor
        self._limits = limits or Limits.of(acceptor.max_size)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._grace = 0.0
        self.address = ""
        """Where it listens, once it has started: host:port or the socket's path."""

    def start(self) -> None:
        """Binds, and returns when connections are taken. Raises ListenerError when the place cannot be had."""
        try:
            self._socket = self._bind_path(self._path) if self._path else self._bind_port()
        except OSError as error:
            raise ListenerError(
                f"{self.setting}: cannot listen there: {error.strerror or error}{_HINTS.get(error.errno or 0, '')}"
            ) from error
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=self.setting, daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self, grace: float = 10.0) -> None:
        """Takes no more connections, lets those mails that are being received or stored have their answer, for up to `grace` seconds,
        says 421 to everybody else, and returns when all is done."""
        if self._thread and self._loop and self._stop:
            self._grace = grace
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None
            if self._path:
                self._path.unlink(missing_ok=True)

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        appender = Appender(self._acceptor, self._loop)
        desk = Desk(appender, self._acceptor.room, self._limits, socket.gethostname())
        desk.idle.set()
        factory = partial(Dialogue, desk, lmtp=self._lmtp)
        assert self._socket
        if self._path:
            server: asyncio.Server = await self._loop.create_unix_server(factory, sock=self._socket, backlog=_BACKLOG)
        else:
            server = await self._loop.create_server(factory, sock=self._socket, backlog=_BACKLOG)
        ready.set()
        await self._stop.wait()
        server.close()
        desk.stopping = True
        for dialogue in [*desk.open]:
            dialogue.wind_up()
        try:
            async with asyncio.timeout(self._grace):
                await desk.idle.wait()
        except TimeoutError:
            for dialogue in [*desk.open]:
                dialogue.abort()
            await desk.idle.wait()
        await asyncio.to_thread(appender.close)

    def _bind_port(self) -> socket.socket:
        family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio sets TCP_NODELAY only where the protocol was named; without it every answer waits for the client's delayed ACK.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(_BACKLOG)
        except OSError:
            bound.close()
            raise
        host, port = bound.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return bound

    def _bind_path(self, path: Path) -> socket.socket:
        _remove_dead(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(os.fspath(path))
            path.chmod(_SOCKET_MODE)
            bound.listen(_BACKLOG)
        except OSError:
            bound.close()
            raise
        self.address = os.fspath(path)
        return bound


def _remove_dead(path: Path) -> None:
    """Removes the socket that a listener left behind when it was killed; one that answers is left alone, and binding will fail."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(os.fspath(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
