"""Where the mails that we write go: the contract of an outbox, and the Maildir. `postroom.relay` has SMTP."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from streams.disk import in_the_way, sync
from streams.faults import Hold
from topology.replies import attach, compose


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to be sent. message: without the original. with_original: whether it has one behind it; original: None then, when it is
    gone, and `gone` are the words in its place. limit: octets of the original that are quoted."""

    reply_id: str
    to: str
    message: bytes
    with_original: bool = False
    original: attach.Original | None = None
    gone: str = ""
    limit: int = attach.QUOTED

    def written(self, *, eight_bit: bool = True) -> bytes:
        """The whole mail with CRLF line ends; ASCII but for the original where `eight_bit`, and a `to` that is not."""
        if not self.with_original:
            return self.message
        boundary = compose.boundary_of(self.reply_id)
        return attach.attached(self.message, boundary, self.original, limit=self.limit, gone=self.gone, eight_bit=eight_bit)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a letter. refused: for ever. later: this one address asks for time. why: in one line, for the reply event."""

    status: Literal["sent", "refused", "later"]
    why: str = ""


SENT = Verdict("sent")
Send = Callable[[Letter], Verdict]


class Outbox(Protocol):
    """Takes letters."""

    def opened(self) -> AbstractContextManager[Send]:
        """For one batch. What was sent stays with the other side once the context has ended without an exception. Sending and
        leaving raise Hold when the outbox is away as a whole; letters sent before that may have gone out."""
        ...

    def look(self) -> None:
        """Whether letters could be taken just now, without sending any. Raises Hold, or ValueError naming a setting that never works.
        Blocks for seconds at most."""
        ...


class Maildir:
    """A Maildir, for a mail server that collects from it, or for people who look. A file's name is made from the reply's id, so a reply
    sent again takes the place of the first. Line ends are LF, as in every Maildir, and Return-Path stands on top, as a final
    delivery puts it there (RFC 5321 section 4.4). Replies carry people's mails, so what folders we make are for their owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def opened(self) -> Iterator[Send]:
        """See Outbox.opened. Files are durable when it ends."""
        with self._border():
            for folder in ("tmp", "new", "cur"):
                (self._path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        yield self._send
        with self._border():
            sync(self._path / "new")

    def look(self) -> None:
        """See Outbox.look. Makes nothing."""
        if fault := in_the_way(self._path):
            raise ValueError(f"replies.outbox: {fault}")

    def _send(self, letter: Letter) -> Verdict:
        name = f"{letter.reply_id}.postroom"
        data = b"Return-Path: <>\n" + letter.written().replace(b"\r\n", b"\n")
        with self._border():
            with (self._path / "tmp" / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            (self._path / "tmp" / name).replace(self._path / "new" / name)
        return SENT

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Within it, what the disk refuses comes out as Hold."""
        try:
            yield
        except OSError as error:
            raise Hold("outbox", f"replies.outbox: cannot write to {self._path}: {error.strerror or error}") from error
