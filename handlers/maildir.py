"""The Maildir handler: the bytes as received, with Return-Path and Delivered-To on top.

A file is named after the delivery, so a repeat writes the same one again. https://cr.yp.to/proto/maildir.html: written in tmp/, made
durable, then renamed into new/. Of a batch all files are written first, then made durable, which costs the disk less, and the
folder once.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from handlers.batch import Batch, Handler
from handlers.mail import Mail
from handlers.word import HANDLED
from streams.disk import sync
from streams.faults import Hold

REPEATS_AFTER_START = 50
"""Batches after a start or a rebalance for which repeats are looked for in cur/, where a mail reader may have moved them. A repeat is
something that was in hand when a worker died, so it comes among the first ones."""

ABANDONED_SECONDS = 36 * 3600.0
"""Age of a file in tmp/ that nobody writes any more (https://cr.yp.to/proto/maildir.html, "36 hours")."""

_OURS = re.compile(r"[0-9a-f]{32}(?:\.[0-9]+){1,2}")
"""Names of files in tmp/ that handlers of ours write."""

# Controls and line ends stand in an address only where somebody means harm (a quoted local part may hold them).
_HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class MaildirHandler(Handler):
    """Writes deliveries into a Maildir. path: its folder, made when it is missing. Raises Hold when it cannot be written."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._suspicious = 0
        self._swept = False

    def afresh(self) -> None:
        """See Handler."""
        self._suspicious = REPEATS_AFTER_START
        self._swept = False

    def handle(self, batch: Batch) -> None:
        """See Handler. The words are said when everything is durable."""
        written: list[tuple[int, str]] = []
        try:
            self._prepare()
            if not self._swept:
                self._sweep()
            read = self._read() if self._suspicious else frozenset()
            for place, mail in _mails(batch):
                if mail.idempotency_key not in read:
                    self._write(mail)
                    written.append((place, mail.idempotency_key))
                else:
                    batch.say(place, HANDLED)
        except OSError as error:
            raise self._away(error) from error
        finally:
            self._publish(batch, written)
        self._suspicious = max(0, self._suspicious - 1)

    def _prepare(self) -> None:
        missing = [folder for name in ("tmp", "new", "cur") if not (folder := self._path / name).is_dir()]
        for folder in missing:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if missing:
            sync(self._path)
            sync(self._path.parent)

    def _sweep(self) -> None:
        """Takes away what a worker that was killed has left in tmp/."""
        self._swept = True
        for entry in os.scandir(self._path / "tmp"):
            with suppress(FileNotFoundError):
                if _OURS.fullmatch(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_SECONDS:
                    os.unlink(entry)

    def _read(self) -> frozenset[str]:
        """The names, without flags, of what mail readers have taken over into cur/."""
        return frozenset(entry.name.partition(":")[0].partition(",")[0] for entry in os.scandir(self._path / "cur"))

    def _write(self, mail: Mail) -> None:
        handle = os.open(self._temporary(mail.idempotency_key), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb") as file:
            file.write(top(mail))
            file.write(mail.raw)

    def _temporary(self, name: str) -> Path:
        # With our process id, so that a worker which was taken for dead cannot write into the file of its successor.
        return self._path / "tmp" / f"{name}.{os.getpid()}"

    def _publish(self, batch: Batch, written: list[tuple[int, str]]) -> None:
        """Makes the files durable, moves them to where readers look, and says the words when that is durable, too."""
        if not written:
            return
        try:
            # A mail that a foreign producer published twice may stand in a batch twice: one delivery, one file.
            names = {name for _, name in written}
            for name in names:
                sync(self._temporary(name))
            for name in names:
                self._temporary(name).replace(self._path / "new" / name)
            sync(self._path / "new")
        except OSError as error:
            raise self._away(error) from error
        for place, _ in written:
            batch.say(place, HANDLED)

    def _away(self, error: OSError) -> Hold:
        return Hold(f"maildir of handler {self.name}", f"{self._path} cannot be written: {error.strerror or error}")


def _mails(batch: Batch) -> Iterator[tuple[int, Mail]]:
    """The mails of a batch, one at a time in memory; what is not to be handled gets its word."""
    for place in batch.todo:
        begun = batch.begin(place)
        if isinstance(begun, bytes):
            yield place, Mail(batch.facts[place], begun)
        else:
            batch.say(place, begun)


def top(mail: Mail) -> bytes:
    """The lines that go before the mail, with the mail's own line end. No Return-Path when there is no envelope sender: an empty one
    would say that it was the null sender (RFC 5321 section 4.4)."""
    first = mail.raw.find(b"\n")
    end = "\r\n" if first > 0 and mail.raw[first - 1 : first] == b"\r" else "\n"
    lines = [] if mail.envelope_sender is None else [f"Return-Path: <{_safe(mail.envelope_sender)}>"]
    lines.append(f"Delivered-To: {_safe(mail.recipient)}")
    if mail.raw[:1] in (b" ", b"\t"):
        # Else the mail's first line would continue Delivered-To.
        lines.append(f"X-Delivery-Id: {mail.delivery_id}")
    return "".join(line + end for line in lines).encode()


def _safe(address: str) -> str:
    return _HARMFUL.sub("?", address)
