"""`replay` and `why`: recorded mails are processed again, or their story is given with its reasons."""

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from postroom.reading.options import selecting
from postroom.reading.out import Out
from postroom.reading.selectors import Filter, Selectors
from postroom.replay.entry import Plan, Stage, first
from postroom.replay.preview import Judge
from postroom.replay.report import preview_document, show_preview
from postroom.replay.selection import Selection, bounds
from postroom.replay.steps import source, steps
from postroom.site import Site, from_context, now_ms

From = Annotated[Stage, typer.Option("--from", help="The first stage to run.")]
AsOf = Annotated[
    Literal["then", "now"], typer.Option("--as-of", help="then: by the recorded accounts, keys and DNS answers; now: asks afresh.")
]
Limit = Annotated[int | None, typer.Option(help="At most so many mails, those with the oldest outcomes.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("replay")(replay)


@selecting
def replay(
    ctx: typer.Context,
    selectors: Selectors,
    start: From = "bounce-filter",
    as_of: AsOf = "then",
    settings: Annotated[Path | None, typer.Option(help="Judge by this settings file instead: what if? For a preview only.")] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Preview what would become of recorded mails now; with --apply, process them again.

    The preview writes nothing and calls no handler. Exit status 1 when a delivery would not be as it was."""
    site = from_context(ctx)
    wanted = selectors.filter(now_ms())
    _preview(site, wanted, Site.at(settings) if settings else site, start, now=as_of == "now", limit=limit, as_json=as_json)


def _preview(site: Site, wanted: Filter, judge: Site, stage: Stage, *, now: bool, limit: int | None, as_json: bool) -> NoReturn:
    judge.read_parts()
    chosen = Selection(site.log, site.topics, wanted, bounds(site.log, site.topics), every=True)
    plan = Plan(stage, frozenset(judge.handler_names), now=now)
    found = Judge(steps(site, judge), judge.reader, source(site), plan).preview(first(chosen.mails(), limit))
    out = Out()
    if as_json:
        out.json(preview_document(found, chosen.deliveries))
    else:
        show_preview(found, out)
    out.flush()
    sys.exit(1 if found.differences else 0)


def _wrong(why: str) -> NoReturn:
    print(f"postroom: {why}", file=sys.stderr)
    sys.exit(2)
