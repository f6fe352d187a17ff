"""Where exported mails go: one mailbox file, or a folder of .eml files. They are people's mails, so their owner alone may read them."""

import os
import re
import time
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from topology.facts import Envelope, to_ms

_QUOTE = re.compile(rb"^(?=>*From )", re.MULTILINE)
_ID = re.compile(r"[0-9a-f]{32}")


class Target(Protocol):
    """Takes mails between `__enter__` and `__exit__`; what it has taken is on the disk after that. All raise OSError."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...

    def write(self, envelope: Envelope, mail: bytes) -> bool:
        """Takes a mail. False where a file of that name was there before, and stays."""
        ...


class Mailbox:
    """An mbox file with the "rd" rule of quoting (RFC 4155 and its appendix A): each line that begins with any number of > and "From "
    gets one > more. It is whole or not there: written under another name first. A mail that does not end with a line end gets one, as
    the form has no other way; .eml files have the very bytes.

    Raises FileExistsError where the file is there and force is not given."""

    def __init__(self, path: Path, *, force: bool) -> None:
        if not force and path.exists():
            raise FileExistsError(path)
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Self:
        descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = open(descriptor, "wb", buffering=1 << 20)
        return self

    def write(self, envelope: Envelope, mail: bytes) -> bool:
        """See `Target.write`."""
        sender = re.sub(r"\s", "_", envelope.sender or "MAILER-DAEMON")
        received = time.asctime(time.gmtime(to_ms(envelope.received_at) // 1000))
        self._file.write(f"From {sender} {received}\n".encode("utf-8", "replace"))
        self._file.write(_QUOTE.sub(b">", mail))
        self._file.write(b"\n" if mail.endswith(b"\n") else b"\n\n")
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            with self._file:
                if error is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if error is None:
                self._unfinished.replace(self._path)
        finally:  # a disk that is full says so only here, where the last octets are written
            self._unfinished.unlink(missing_ok=True)


class Folder:
    """A file a mail, named by the time of its receipt and its mail id, and with that time."""

    def __init__(self, path: Path, *, force: bool) -> None:
        self._path = path
        self._force = force

    def __enter__(self) -> Self:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def write(self, envelope: Envelope, mail: bytes) -> bool:
        """See `Target.write`."""
        seconds = to_ms(envelope.received_at) / 1000
        # An id that another program put on the log could be anything.
        known = envelope.mail_id if _ID.fullmatch(envelope.mail_id) else sha256(envelope.mail_id.encode()).hexdigest()[:32]
        path = self._path / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(seconds))}-{known}.eml"
        if path.exists() and not self._force:
            return False
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(mail)
            os.utime(unfinished, (seconds, seconds))
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.sync()


def target(to: str, *, force: bool) -> Target:
    """A folder where `to` ends with a slash or is one, else a mailbox. Raises FileExistsError."""
    path = Path(to)
    return Folder(path, force=force) if to.endswith("/") or path.is_dir() else Mailbox(path, force=force)
