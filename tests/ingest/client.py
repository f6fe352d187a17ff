"""A client that says exactly the octets it is told to."""

import socket
from typing import Self


class Client:
    """One connection. `say` sends octets as they are, `hear` reads one whole reply (several lines where it goes on)."""

    def __init__(self, address: str) -> None:
        if address.startswith("/"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(address)
        else:
            host, _, port = address.rpartition(":")
            self._socket = socket.create_connection((host.strip("[]"), int(port)))
        self._socket.settimeout(30)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def say(self, octets: bytes) -> None:
        """Sends them."""
        self._socket.sendall(octets)

    def hear(self) -> str:
        """The next reply, its lines joined by newlines; "" when the server has hung up."""
        lines: list[str] = []
        while line := self._file.readline():
            assert line.endswith(b"\r\n")
            lines.append(line[:-2].decode("ascii"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def ask(self, command: bytes) -> str:
        """One command and its reply."""
        self.say(command + b"\r\n")
        return self.hear()

    def greet(self, verb: bytes = b"LHLO") -> Self:
        """Past the greeting."""
        assert self.hear().startswith("220 ")
        assert self.ask(verb + b" client.example.org").startswith("250-")
        return self

    def envelope(self, *recipients: bytes, sender: bytes = b"ann@example.org") -> Self:
        """MAIL, RCPT and DATA, all accepted."""
        assert self.ask(b"MAIL FROM:<" + sender + b">").startswith("250 ")
        for recipient in recipients or (b"bugs@example.org",):
            assert self.ask(b"RCPT TO:<" + recipient + b">").startswith("250 ")
        assert self.ask(b"DATA").startswith("354 ")
        return self

    def finish_saying(self) -> None:
        """Closes our half: the server sees the end and may still answer."""
        self._socket.shutdown(socket.SHUT_WR)

    def hung_up(self) -> bool:
        """Whether the server closed, having said nothing more."""
        return self._file.read(1) == b""

    def close(self) -> None:
        """Hangs up without a word."""
        self._file.close()
        self._socket.close()
