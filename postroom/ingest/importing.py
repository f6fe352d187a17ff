"""The import run: mails from files into the log, some hundred a transaction.

An import that was killed, or is run again, delivers nothing twice: a mail that is there already keeps its ids, because its receive
time comes from the mail or its file. (With `now`, mails that have neither Message-ID nor Received are told apart by that time.)
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from postroom.ingest.accept import Acceptor, Arrival
from postroom.ingest.sources import Found, Sources, Unreadable
from streams.errors import Fatal, LogError, TooLarge
from streams.record import Appended
from topology.facts import to_ms

_BATCH_MAILS = 256
_BATCH_OCTETS = 4 << 20
"""Mails in hand stay below this and one more mail."""

ReceivedAt = Literal["header", "now"] | int
"""Where a mail's receive time comes from: "header" is the topmost Received, else the mailbox's separator, else the file's time;
"now" the clock; a number ms since 1970 UTC."""

Report = Callable[[int, int], None]
"""Called with the octets done and those there are, after each transaction."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one mail, or of a file that cannot be read. repeat: the log had it already; None when it cannot know. A line of
    `import --json`."""

    path: str
    index: int | None
    mail_id: str | None
    repeat: bool | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Options:
    """sender, recipients: as on the command line, None and () for what the mail says."""

    sender: str | None = None
    recipients: tuple[str, ...] = ()
    received_at: ReceivedAt = "header"


class ImportStopped(Exception):
    """Log or archive are away, or full: the import stopped at this mail, which stays where it is. Exit status 75; the same command
    goes on from here. The cause is the error."""

    def __init__(self, path: str, index: int, error: LogError) -> None:
        super().__init__(f"stopped at {path} (mail {index}), which was not stored: {error}")
        self.path = path
        self.index = index


def parse_received_at(text: str) -> ReceivedAt:
    """The value of --received-at; a time without a zone is UTC. Raises ValueError."""
    if text == "header":
        return "header"
    if text == "now":
        return "now"
    try:
        when = datetime.fromisoformat(text)
        return to_ms((when if when.tzinfo else when.replace(tzinfo=UTC)).isoformat())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"--received-at {text!r}: expected header, now, or a time such as 2026-03-01T12:00:00Z") from error


def run_import(
    paths: Iterable[Path],
    options: Options,
    acceptor: Acceptor,
    report: Report | None = None,
    skipped: Callable[[int], None] | None = None,
) -> Iterator[Imported]:
    """Stores the mails under `paths`, in order, and yields what became of each once it is durable. Goes on past files that cannot be
    read and mails that the log will never take. skipped: called at the end with the number of files in folders that did not look
    like mail. Raises ImportStopped when the log or archive is away, after all that was stored before has been yielded; Fatal when the
    log cannot be used at all."""
    sources = Sources(paths, acceptor.max_size)
    total = sources.total() if report else 0
    for batch in _batches(sources):
        yield from _store(batch, options, acceptor)
        last = batch[-1]
        if report and isinstance(last, Found):
            report(last.done, total)
    if skipped:
        skipped(sources.skipped)


def _batches(sources: Iterable[Found | Unreadable]) -> Iterator[list[Found | Unreadable]]:
    batch: list[Found | Unreadable] = []
    octets = 0
    for found in sources:
        batch.append(found)
        octets += len(found.mail.raw) if isinstance(found, Found) else 0
        if len(batch) >= _BATCH_MAILS or octets >= _BATCH_OCTETS:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _store(batch: list[Found | Unreadable], options: Options, acceptor: Acceptor) -> Iterator[Imported]:
    handed = [_arrivals(found, options, acceptor) if isinstance(found, Found) else [] for found in batch]
    results = iter(acceptor.accept_each([arrival for arrivals in handed for arrival in arrivals]))
    stopped: ImportStopped | None = None
    for found, arrivals in zip(batch, handed, strict=True):
        if isinstance(found, Unreadable):
            yield Imported(found.path, found.index, None, None, found.error)
            continue
        came = [next(results) for _ in arrivals]
        error = next((one for one in came if isinstance(one, LogError)), None)
        if isinstance(error, Fatal):
            raise error
        if error is None or isinstance(error, TooLarge):
            yield _line(found, arrivals[0], came, error)
        else:
            stopped = stopped or ImportStopped(found.path, found.index, error)
            stopped.__cause__ = stopped.__cause__ or error
    if stopped:
        raise stopped


def _arrivals(found: Found, options: Options, acceptor: Acceptor) -> list[Arrival]:
    received = int(time.time() * 1000) if options.received_at == "now" else None if options.received_at == "header" else options.received_at
    return acceptor.arrivals(
        found.mail, sender=options.sender, recipients=options.recipients, via="import", received_ms=received, otherwise_ms=found.time
    )


def _line(found: Found, arrival: Arrival, came: list[Appended | LogError], error: TooLarge | None) -> Imported:
    repeats = {one.repeat for one in came if isinstance(one, Appended)}
    repeat = None if error or None in repeats else repeats == {True}
    return Imported(found.path, found.index, arrival.envelope.mail_id, repeat, str(error) if error else None)
