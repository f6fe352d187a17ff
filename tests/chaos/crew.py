"""Processes of the program, started, killed, frozen and ended; and a client that hands mails over to whichever of them listens."""

import os
import random
import signal
import smtplib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.acceptance.place import Place
from tests.chaos.town import Letter

PATIENCE = 240.0
"""Seconds in which anything must have come to its end; running into it fails the test, and is no measure of speed."""


def until(done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Waits for what must come."""
    deadline = time.monotonic() + patience
    while not done():
        assert time.monotonic() < deadline, f"waited for {patience:.0f} s in vain: {what}"
        time.sleep(0.02)


class Crew:
    """Runs commands of one installation, each under a name. Whatever still runs at the end is killed. What they say on stderr goes to
    a file for each name, in the installation's folder or in `outside`."""

    def __init__(self, place: Place, outside: Path | None = None) -> None:
        self.place = place
        self._outside = outside or place.folder
        self.sockets = Path(tempfile.mkdtemp(prefix="chaos"))  # short, because a Unix socket's path must be
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._arguments: dict[str, Sequence[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        for socket in self.sockets.iterdir():
            socket.unlink()
        self.sockets.rmdir()

    def start(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Starts `postroom ARGUMENTS`; a listener of it, if it has one, is at `socket(name)`."""
        self._arguments[name] = arguments
        environment = {key: value for key, value in os.environ.items() if not key.startswith("POSTROOM_")}
        environment |= {"POSTROOM_INGEST__LMTP": f"unix:{self.socket(name)}"} | dict(env or {})
        with self.stderr(name).open("ab") as stderr:
            self.running[name] = subprocess.Popen(
                self.place.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environment
            )
        return self.running[name]

    def socket(self, name: str) -> Path:
        """Where a worker listens."""
        return self.sockets / name

    def stderr(self, name: str) -> Path:
        """What it has said, all its lives together."""
        return self._outside / f"{name}.stderr"

    def kill(self, name: str) -> None:
        """kill -9."""
        self.running[name].kill()
        self.running[name].wait()

    def kill_and_start(self, name: str) -> None:
        """kill -9, and the same command again, at once."""
        self.kill(name)
        self.start(name, *self._arguments[name])

    def ask_to_stop(self, name: str) -> None:
        """SIGTERM."""
        self.running[name].send_signal(signal.SIGTERM)

    def ended(self, name: str) -> int:
        """Waits for its end; the exit status."""
        return self.running[name].wait(PATIENCE)

    def stop_all(self, but: str = "") -> None:
        """SIGTERM to all, each of which must exit with 0. One that was started a moment ago is waited for: until Python is there to hear
        it, the signal ends it as it ends any process."""
        names = [name for name in self.running if name != but]
        until(lambda: all(map(self._hears, names)), "all to hear SIGTERM")
        for name in names:
            self.ask_to_stop(name)
        statuses = {name: self.ended(name) for name in names}
        bad = [name for name in names if statuses[name]]
        assert not bad, (statuses, [self.stderr(name).read_text()[-2000:] for name in bad])

    def _hears(self, name: str) -> bool:
        """Whether it has a handler for SIGTERM (proc(5), SigCgt), or has ended."""
        process = self.running[name]
        if process.poll() is not None:
            return True
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> signal.SIGTERM - 1 & 1)

    def listens(self, name: str) -> bool:
        """Whether its LMTP listener answers yet."""
        assert self.running[name].poll() is None, self.stderr(name).read_text()
        try:
            with smtplib.LMTP(str(self.socket(name))):
                return True
        except (OSError, smtplib.SMTPException):
            return False


class MailServer(threading.Thread):
    """Hands mails over by LMTP, one after the other, to any of the sockets, and again to those recipients for whom it got no yes."""

    def __init__(self, letters: Sequence[Letter], sockets: Sequence[Path], chance: random.Random) -> None:
        super().__init__(name="mail server")
        self.again = 0
        """How often a hand-over was repeated."""
        self.refusals: set[int] = set()
        """The codes with which it was told to come again."""
        self.fault: BaseException | None = None
        self._letters = letters
        self._sockets = sockets
        self._chance = chance
        self._session: smtplib.LMTP | None = None

    def run(self) -> None:
        """See the class."""
        try:
            for letter in self._letters:
                self._deliver(letter)
        except BaseException as error:
            self.fault = error

    def finish(self) -> None:
        """Waits until all is handed over."""
        self.join(PATIENCE)
        assert not self.fault, self.fault
        assert not self.is_alive()

    def _deliver(self, letter: Letter) -> None:
        left = list(letter.recipients)
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError, smtplib.SMTPException):
                left = self._hand_over(letter, left)
            if not left:
                return
            assert time.monotonic() < deadline, "nobody takes the mail"
            self.again += 1
            if self._session:
                self._session.close()
            self._session = None
            time.sleep(0.05)

    def _hand_over(self, letter: Letter, recipients: list[str]) -> list[str]:
        """One try; the recipients for whom there was no yes. Where the connection breaks off between two answers, the later ones have
        none."""
        if self._session is None:
            self._session = smtplib.LMTP(str(self._chance.choice(self._sockets)), timeout=60)
            self._session.ehlo_or_helo_if_needed()
        session = self._session
        sender = letter.text.partition("\n")[0].removeprefix("From: ")
        for command in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)):
            code, word = session.docmd(command)
            if code != 250:
                self.refusals.add(code)
                raise smtplib.SMTPResponseException(code, word)
        code, word = session.docmd("DATA")
        if code != 354:
            self.refusals.add(code)
            raise smtplib.SMTPResponseException(code, word)
        session.send(smtplib.quotedata(letter.text).encode() + b".\r\n")
        left = list(recipients)
        with suppress(OSError, smtplib.SMTPException):
            for recipient in recipients:
                code, _ = session.getreply()
                if code == 250:
                    left.remove(recipient)
                else:
                    self.refusals.add(code)
        return left
