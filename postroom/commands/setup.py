"""`init`, `check` and `topology`: how an installation is made, and whether it is sane."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from postroom import sample, table
from postroom.settings import SettingsError
from postroom.site import from_context

AsJson = Annotated[bool, typer.Option("--json", help="A line of JSON a row.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (init, check, topology):
        app.command()(command)


def init(ctx: typer.Context) -> None:
    """Write a commented settings file, an accounts file and a key folder here."""
    file = Path(ctx.find_root().obj)
    written = sample.write(file)
    console = Console()
    for path in written:
        console.print(f"wrote {path}", highlight=False)
    console.print("next: name your domains and handlers in it, then `postroom check`", highlight=False)


def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Is everything that the settings name there, and sane?"""
    from postroom import checks

    site = from_context(ctx)
    found = {0}
    for finding in checks.run(site):
        if as_json:
            sys.stdout.buffer.write(orjson.dumps(finding, option=orjson.OPT_APPEND_NEWLINE))
        else:
            print(f"{finding.mark} {finding.what}: {finding.words}")
        found.add(finding.status)
    sys.stdout.flush()
    sys.exit(2 if 2 in found else max(found))  # where something is wrong, waiting for what is away helps nobody


def topology(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print the topology: what reads which topic, and what it writes."""
    try:
        rows = table.rows_of(from_context(ctx))
    except SettingsError:
        rows = table.rows()
    if as_json:
        for row in rows:
            sys.stdout.buffer.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
    else:
        table.draw(rows, Console())
