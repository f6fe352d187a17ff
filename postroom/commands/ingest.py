"""`import` and `pipe`: mails in by hand and by a mail server's pipe."""

import os
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from postroom.bar import gauge
from postroom.ingest.accept import Acceptor
from postroom.ingest.importing import Imported, ImportStopped, Options, parse_received_at, run_import
from postroom.ingest.pipe import run_pipe
from postroom.printable import safe, tell
from postroom.settings import SettingsError
from postroom.site import Site, from_context
from streams.errors import Fatal, LogError
from streams.faults import Hold
from topology.address import envelope_key, key

Sender = Annotated[
    str | None, typer.Option("--sender", help='The envelope sender; "" or "<>" is the null sender. Default: the Return-Path.')
]
Recipients = Annotated[list[str] | None, typer.Option("--recipient", help="An envelope recipient; may be given again.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("import")(import_)
    app.command("pipe")(pipe)


def import_(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Mails: .eml and .emlx files, mboxes, Maildirs, or folders of them.")],
    sender: Sender = None,
    recipient: Recipients = None,
    received_at: Annotated[
        str, typer.Option(help="header (topmost Received, else the mbox From line, else the file's time), now, or an ISO time.")
    ] = "header",
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a mail.")] = False,
) -> None:
    """Bring in mails from files. Run again after a stop, it stores nothing twice."""
    _check_addresses(sender, recipient)
    try:
        when = parse_received_at(received_at)
    except ValueError as error:
        raise typer.BadParameter(
            f"{received_at!r}: write header, now, or a time such as 2026-03-01T10:00:00Z", param_hint="--received-at"
        ) from error
    acceptor = _acceptor(from_context(ctx))
    sys.exit(_import(acceptor, paths, Options(sender, tuple(recipient or ()), when), as_json))


def _import(acceptor: Acceptor, paths: list[Path], options: Options, as_json: bool) -> int:
    counts = {"new": 0, "repeat": 0, "error": 0, "skipped": 0}
    with gauge("importing", unit=None) as show:
        try:
            for line in run_import(paths, options, acceptor, show, lambda count: counts.update(skipped=count)):
                counts["error" if line.error else "repeat" if line.repeat else "new"] += 1
                if as_json:
                    sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                elif line.error:
                    tell(safe(f"{_place(line)}: {line.error}"))
        except ImportStopped as stopped:
            sys.stdout.flush()
            tell(f"{safe(str(stopped))}; the same command goes on from there")
            return 2 if isinstance(stopped.__cause__, Fatal) else os.EX_TEMPFAIL
        finally:
            sys.stdout.buffer.flush()
    skipped = f"{counts['skipped']} passed over that did not look like mail" if counts["skipped"] else None
    if not as_json:
        told = f"{counts['new']} stored, {counts['repeat']} known already, {counts['error']} unreadable"
        print(f"{told}, {skipped}" if skipped else told)
    elif skipped:
        print(f"postroom: {skipped}", file=sys.stderr)
    return 1 if counts["error"] else 0


def _place(line: Imported) -> str:
    return line.path if line.index is None else f"{line.path} (mail {line.index})"


def pipe(ctx: typer.Context, sender: Sender = None, recipient: Recipients = None) -> None:
    """Take one mail on standard input, for a mail server's pipe. Exit 0 when it is durable, 75 to be asked again later."""
    # Whatever is wrong with our settings, the mail server must keep its mail: everything but the command line itself is 75.
    _check_addresses(None, recipient)
    if sys.stdin is None:
        print("postroom: standard input is closed: the mail is to be handed over there", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
    try:
        came = run_pipe(sys.stdin.buffer, sender, tuple(recipient or ()), _acceptor(from_context(ctx)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the mail server must not take it for the mail's fault
        tell(str(error) if isinstance(error, SettingsError | LogError | Hold) else repr(error))
        sys.exit(os.EX_TEMPFAIL)
    if came.why:
        tell(came.why)
    sys.exit(came.status)


def _acceptor(site: Site) -> Acceptor:
    """The site's acceptor, over a log whose topics are there. It is made first, because it finds out what the settings are wrong about
    before the log is touched. Raises SettingsError, LogError."""
    acceptor = site.acceptor
    site.ensure_topics()
    return acceptor


def _check_addresses(sender: str | None, recipients: list[str] | None) -> None:
    if sender is not None and envelope_key(sender) is None:
        raise typer.BadParameter(f'{sender!r} is no mail address; the null sender is ""', param_hint="--sender")
    for recipient in recipients or ():
        if key(recipient) is None:
            raise typer.BadParameter(f"{recipient!r} is no mail address", param_hint="--recipient")
