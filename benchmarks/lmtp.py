"""Mails accepted and durable over LMTP a second, beside aiosmtpd that does nothing with them, in the same run.

    python -m benchmarks.lmtp [--seconds 5] [--connections 8 32] [--pipelined] [--mailman FOLDER]

A mail has 4 KB, unlike any other, and one recipient. Server and client are a process each; the client's connections take turns in one
event loop, so on two cores it is about as busy as the server. The bound is aiosmtpd's own LMTP class with a handler that says 250 and
drops the mail: nothing is parsed, and nothing touches a disk. --mailman: a virtual environment with GNU Mailman 3 in it, whose LMTP
runner then takes the same mails, for a list of its own, into its queue directory; what its other runners would do is not in the figure.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import mailman

_BODY = b"The quick brown fox jumps over the lazy dog, and the mail goes on. %08d\r\n" * 52
_MAIL = b"Message-ID: <%d.%d@example.org>\r\nFrom: Ann <ann@example.org>\r\nTo: %b\r\nSubject: a mail\r\n\r\n%b"


def mail(run: int, number: int, recipient: bytes) -> bytes:
    """A mail of about 4 KB, ended by its dot."""
    return _MAIL % (run, number, recipient, _BODY[:3900]) + b"\r\n.\r\n"


class Talk:
    """One connection that hands over mails as fast as they are answered."""

    def __init__(self, address: str, recipient: bytes, pipelined: bool) -> None:
        self._address = address
        self._recipient = recipient
        self._pipelined = pipelined
        self.stored = 0

    async def go(self, run: int, until: float) -> None:
        """Hands over until that time (of the monotonic clock). Raises AssertionError when a mail is refused."""
        host, _, port = self._address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await self._reply(reader)
        writer.write(b"LHLO bench.example.org\r\n")
        await self._reply(reader)
        envelope = [b"MAIL FROM:<ann@example.org>\r\n", b"RCPT TO:<" + self._recipient + b">\r\n", b"DATA\r\n"]
        number = 0
        while time.monotonic() < until:
            if self._pipelined:
                writer.write(b"".join(envelope))
                for _ in envelope:
                    await self._reply(reader)
            else:
                for command in envelope:
                    writer.write(command)
                    await self._reply(reader)
            number += 1
            writer.write(mail(run, number, self._recipient))
            await self._reply(reader)
            self.stored += 1
        writer.close()

    @staticmethod
    async def _reply(reader: asyncio.StreamReader) -> None:
        while True:
            line = await reader.readline()
            assert line[:1] in (b"2", b"3"), line
            if line[3:4] != b"-":
                return


async def rate(address: str, recipient: bytes, connections: int, seconds: float, pipelined: bool) -> float:
    """Mails a second that were answered with 250."""
    talks = [Talk(address, recipient, pipelined) for _ in range(connections)]
    start = time.monotonic()
    await asyncio.gather(*(talk.go(int(start * 1000) * 1000 + at, start + seconds) for at, talk in enumerate(talks)))
    return sum(talk.stored for talk in talks) / (time.monotonic() - start)


def serve_postroom(folder: str) -> None:
    """The listener on a log in a SQLite file."""
    from postroom.archive import ObjectArchive
    from postroom.ingest.accept import Acceptor
    from postroom.ingest.listener import Listener
    from postroom.ingest.place import place_of
    from postroom.ingest.room import Room
    from streams.log import TopicSpec
    from streams.sqlite import SqliteLog
    from topology.records import Topics

    sys.setswitchinterval(SqliteLog.turns)
    topics = Topics("mail")
    log = SqliteLog(Path(folder) / "postroom.db")
    log.create([TopicSpec(topics.raw, 8)])
    room = Room(500_000_000, [Path(folder)])
    acceptor = Acceptor(log, topics, ObjectArchive("file:archive/", Path(folder)), inline_limit=524288, max_size=10485760, room=room)
    listener = Listener(place_of("lmtp", "127.0.0.1:0", Path(folder)), acceptor, lmtp=True)
    listener.start()
    print(listener.address, flush=True)
    sys.stdin.read()
    listener.stop()
    log.close()


def serve_nothing(_folder: str) -> None:
    """aiosmtpd with a handler that says 250."""
    from aiosmtpd.lmtp import LMTP

    class Nothing:
        async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            return "250 ok"

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: LMTP(Nothing(), hostname="bench"), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.read)

    asyncio.run(serve())


SERVERS = {"postroom": serve_postroom, "aiosmtpd": serve_nothing}


@contextmanager
def serving(name: str) -> Iterator[str]:
    """The address of one of the servers, run in a process of its own in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="postroom-bench-", dir=".") as folder:
        command = [sys.executable, "-m", "benchmarks.lmtp", "--serve", name, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            try:
                yield process.stdout.readline().strip()
            finally:
                process.stdin.close()
                process.wait()


def main(arguments: list[str] | None = None) -> None:
    """Prints a line for each server and number of connections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--pipelined", action="store_true")
    parser.add_argument("--mailman", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.serve:
        name, folder = options.serve
        SERVERS[name](folder)
        return
    peers = {name: partial(serving, name) for name in SERVERS}
    if options.mailman:
        peers["mailman"] = partial(mailman.serving, options.mailman.resolve())
    for connections in options.connections:
        for name, opened in peers.items():
            with opened() as address:
                asyncio.run(rate(address, mailman.RECIPIENT, connections, 0.5, options.pipelined))  # to warm up
                found = asyncio.run(rate(address, mailman.RECIPIENT, connections, options.seconds, options.pipelined))
            print(f"{name:10} {connections:3} connections {found:8.0f} mails/s", flush=True)


if __name__ == "__main__":
    main()
