"""The command handler: a program, without a shell, with the mail on its standard input.

Exit status 0: handled. 75 (EX_TEMPFAIL): called again later. 65, 67, 77 (EX_DATAERR, EX_NOUSER, EX_NOPERM): refused, and the sender
is told the first KiB of its standard output. Any other, or a signal: handler-error. (sysexits.h) What it has started and not waited
for is killed when it ends, but for what has a session of its own (setsid).

Its environment is small and the same on every machine: PATH, HOME, LANG=C.UTF-8, TZ and TMPDIR where we have them, and

    POSTROOM_MAIL_ID, POSTROOM_DELIVERY_ID, POSTROOM_IDEMPOTENCY_KEY, POSTROOM_GENERATION
    POSTROOM_RECIPIENT, POSTROOM_SENDER, POSTROOM_ENVELOPE_SENDER    as compared; empty also where there is none
    POSTROOM_STRENGTH, POSTROOM_ACCOUNT                              unknown, weak, strong; the account's id or empty
    POSTROOM_CAPTURE_<NAME>                                          what the handler's pattern caught, names in upper case
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector, SelectorKey

from handlers import fingerprint
from handlers.batch import Batch, Handler
from handlers.mail import Mail
from handlers.timing import Call, Crew, overran
from handlers.word import HANDLED, Said, Word
from streams.cores import anywhere
from streams.faults import Hold
from streams.stage import Again
from topology.facts import Facts

REFUSALS = frozenset({os.EX_DATAERR, os.EX_NOUSER, os.EX_NOPERM})
KEPT = 1024
"""Octets of the beginning of standard output, for the sender."""
KEPT_ERRORS = 800
"""Octets of the end of standard error, for people who run the mail: with the status before it they fit into an outcome's detail."""
_CHUNK = 64 * 1024
_TICK = 0.1
"""Seconds after which it is looked whether the program has ended, though somebody else holds its pipes open; and seconds that those whom
it left behind have to pass on what it said."""
_PAUSE = 0.0005
"""Seconds until it is looked whether a program that has closed its pipes has ended, as it mostly has; twice as many each time."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class CommandHandler(Handler):
    """Runs a program for each delivery. command: its path or name, and arguments. folder: where it runs, and where a relative path
    begins. limit: seconds; then it is killed with all that it started. concurrency: how many at once, those of one recipient in order.
    Raises Hold when the program cannot be started."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, *, limit: float = 60.0, concurrency: int = 1) -> None:
        self.name = name
        self._command = list(command)
        self._folder = folder
        self._limit = limit
        # The limit is kept here; the watch of the threads is for a machine that does not even start the program.
        self._crew = Crew(f"handler {name}", limit + 30, concurrency)

    def handle(self, batch: Batch) -> None:
        """See Handler."""
        self._crew.run(batch, self._run)

    def fault(self) -> str | None:
        """Why the program cannot be run, as far as it can be seen without running it, or None."""
        program = self._command[0]
        if "/" not in program:
            return None if shutil.which(program) else f"there is no program {program!r} on PATH"
        path = self._folder / program
        if not path.is_file():
            return f"there is no file {path}"
        return None if os.access(path, os.X_OK) else f"{path} is not executable: chmod +x"

    def close(self) -> None:
        """See Handler."""
        self._crew.close()

    def _run(self, _call: Call, facts: Facts, raw: bytes) -> Word:
        program, *arguments = self._command
        if "/" in program:
            program = str(self._folder / program)
        try:
            with anywhere():
                process = subprocess.Popen(
                    [program, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self._folder,
                    env=environment(Mail(facts, raw)),
                    start_new_session=True,  # a process group of its own, so that all of it can be killed
                )
        except OSError as error:
            raise Hold(f"command of handler {self.name}", f"{program} cannot be started: {error.strerror or error}") from error
        talk = _Talk(process, raw)
        try:
            talk.until(time.monotonic() + self._limit)
        except subprocess.TimeoutExpired:
            return overran(self._limit)
        finally:
            _end(process)
        return _word(process.wait(), talk.out, talk.err)


def environment(mail: Mail) -> dict[str, str]:
    """What the program is told; see the module."""
    own = {name: os.environ[name] for name in ("PATH", "HOME", "TZ", "TMPDIR") if name in os.environ}
    told = {
        "MAIL_ID": mail.id,
        "DELIVERY_ID": mail.delivery_id,
        "IDEMPOTENCY_KEY": mail.idempotency_key,
        "GENERATION": str(mail.generation),
        "RECIPIENT": mail.recipient,
        "SENDER": mail.sender or "",
        "ENVELOPE_SENDER": mail.envelope_sender or "",
        "STRENGTH": mail.strength,
        "ACCOUNT": mail.account.id if mail.account else "",
    } | {f"CAPTURE_{name.upper()}": text for name, text in mail.captures.items()}
    return {"LANG": "C.UTF-8", **own} | {f"POSTROOM_{name}": fingerprint.plain(text, 4096) for name, text in told.items()}


class _Talk:
    """Feeds a program and hears it out, keeping little: the beginning of its standard output and the end of its standard error."""

    def __init__(self, process: "subprocess.Popen[bytes]", mail: bytes) -> None:
        self.out = b""
        self.err = b""
        self._process = process
        self._left = memoryview(mail)

    def until(self, deadline: float) -> None:
        """Returns when the program has ended, and what it left in its pipes is read. It is not reaped. Raises TimeoutExpired."""
        process = self._process
        ended, pause = False, _PAUSE
        with DefaultSelector() as selector:
            for pipe, event in ((process.stdin, EVENT_WRITE), (process.stdout, EVENT_READ), (process.stderr, EVENT_READ)):
                assert pipe
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event)
            while selector.get_map() or not ended:
                if not ended and _has_ended(process):
                    ended, deadline = True, time.monotonic() + _TICK
                left = deadline - time.monotonic()
                if left <= 0 and not ended:
                    raise subprocess.TimeoutExpired(process.args, left)
                if not selector.get_map():
                    pause = min(2 * pause, _TICK)
                for key, _ in selector.select(max(0.0, min(_TICK if selector.get_map() else pause, left))):
                    self._serve(selector, key)
                if left <= 0:  # what it left was read once at least: a chunk is as much as a pipe holds
                    return

    def _serve(self, selector: DefaultSelector, key: SelectorKey) -> None:
        process = self._process
        if key.fileobj is process.stdin:
            if self._fed(key.fd):
                selector.unregister(process.stdin)
                process.stdin.close()
        elif not (heard := os.read(key.fd, _CHUNK)):
            selector.unregister(key.fileobj)
        elif key.fileobj is process.stdout:
            self.out = (self.out + heard)[:KEPT]
        else:
            self.err = (self.err + heard)[-KEPT_ERRORS:]

    def _fed(self, pipe: int) -> bool:
        """Gives it more of the mail; whether it has all, or does not want it (which is its business)."""
        try:
            self._left = self._left[os.write(pipe, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return not self._left


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has ended. It is not reaped: until then nobody else can get its number, which is that of its group."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing of it is left: killed with its group, reaped, its pipes closed."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel: the next Popen reaps it
        process.wait(5)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()


def _word(status: int, out: bytes, err: bytes) -> Word:
    if status == 0:
        return HANDLED
    if status in REFUSALS:
        return Said("returned", "refused", _text(out) or "Your mail was refused, without a reason given.")
    how = f"exit status {status}" if status > 0 else f"killed by {_signal(-status)}"
    detail = f"the program {'ended with' if status > 0 else 'was'} {how}" + (f": {last}" if (last := _text(err)) else "")
    if status == os.EX_TEMPFAIL:
        return Again(detail)
    return Said("failed", "handler-error", detail, fingerprint.of("command", how))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _text(data: bytes) -> str:
    """What a program printed, as text without controls; a character that the limit cut in two is left out."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").strip("\N{REPLACEMENT CHARACTER}")
    return _CONTROLS.sub(" ", text).strip()
