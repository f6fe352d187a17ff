"""`export`: selected mails as files."""

import os
import sys
from typing import Annotated, Any

import typer

from postroom.bar import bar
from postroom.export.export import Export, Exported
from postroom.export.targets import target
from postroom.reading.options import selecting
from postroom.reading.out import Out, stop
from postroom.reading.selectors import Selectors
from postroom.site import from_context, now_ms
from topology.step import MailSource

_NAMED = 5
"""Mails that a line names."""

_WHY = {
    "erased": "were erased, so there is nothing to export",
    "gone": "are gone: the log or the archive no longer has them",
    "existing": "have a file there already, which stays (--force overwrites)",
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(export)


@selecting
def export(
    ctx: typer.Context,
    selectors: Selectors,
    to: Annotated[
        str, typer.Option("--to", help="A mailbox file, or a folder (it ends with /) for a file a mail.", metavar="FILE|FOLDER/")
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object about what was done.")] = False,
) -> None:
    """Write the mails behind the selected outcomes to a mailbox (mboxrd) or as .eml files, byte for byte as they came.

    Exit status 1 when a selected mail could not be written, as it was erased or is gone."""
    wanted = selectors.filter(now_ms())
    site = from_context(ctx)
    try:
        place = target(to, force=force)
        export = Export(site.log, site.topics, MailSource(site.log, site.archive), wanted)
        with place, bar("exporting", export.count) as tick:
            done = export.write(place, tick)
    except FileExistsError:
        stop(f"--to {to}: is there already; --force overwrites it", 2)
    except OSError as error:
        stop(f"--to {to}: cannot be written: {error.strerror or error}", 1)
    for name, why in _WHY.items():
        if mails := list(getattr(done, name)):
            some = ", ".join(mails[:_NAMED]) + (", …" if len(mails) > _NAMED else "")
            print(f"postroom: {len(mails):,} of the selected mails {why}: {some}", file=sys.stderr)
    out = Out()
    if as_json:
        out.json(_document(to, done))
    else:
        out.line((f"{done.mails:,} mails, {done.octets:,} octets, written to {to}", "bold"))
        if done.truncated:
            out.line((f"{done.truncated:>9,}  of them were too large when they came, so only their beginning was kept", "dim"))
    out.flush()
    sys.exit(0 if done.whole else 1)


def _document(to: str, done: Exported) -> dict[str, Any]:
    counts = {name: getattr(done, name) for name in ("mails", "octets", "truncated")}
    return {"to": os.fsencode(to).decode("utf-8", "replace")} | counts | {name: list(getattr(done, name)) for name in _WHY}
