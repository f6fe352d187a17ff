"""`replay`: recorded mails are judged again in a preview, or processed again in a new generation."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from postroom.arguments import finite, utf8
from postroom.bar import bar
from postroom.crew import Tick
from postroom.reading.options import selecting
from postroom.reading.out import Out, stop
from postroom.reading.selectors import Selectors
from postroom.replay.apply import Apply, Brought, Pace, brought_in
from postroom.replay.claim import Claim, Superseded, alone
from postroom.replay.entry import Stage
from postroom.replay.marker import Busy, Marker, NoReplay, finish, refuse_if_busy, who
from postroom.replay.report import brought_document, preview_document, show_brought, show_preview
from postroom.replay.selection import Selection
from postroom.replay.trial import Trial, preview
from postroom.site import Site, from_context, now_ms
from topology.facts import rfc3339

From = Annotated[Stage, typer.Option("--from", help="The first stage to run.")]
AsOf = Annotated[Literal["then", "now"], typer.Option("--as-of", help="then: by the recorded accounts, keys and DNS; now: asks afresh.")]
Limit = Annotated[int | None, typer.Option(help="At most so many mails, those with the oldest outcomes.", min=1)]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("replay")(replay)


@selecting
def replay(
    ctx: typer.Context,
    selectors: Selectors,
    start: From = "bounce-filter",
    as_of: AsOf = "then",
    settings: Annotated[Path | None, typer.Option(help="What if? Judge by this settings file instead; for a preview.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Bring the mails in again, in a new generation.")] = False,
    resume: Annotated[int | None, typer.Option(help="Go on with the interrupted replay of this number.", metavar="N", min=1)] = None,
    abandon: Annotated[int | None, typer.Option(help="Give the interrupted replay of this number up.", metavar="N", min=1)] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Also deliveries that are handled.")] = False,
    replies: Annotated[bool, typer.Option("--replies", help="Write to senders, as the first processing does.")] = False,
    why: Annotated[str | None, typer.Option(help="What the replay is for; stands in its marker.", metavar="TEXT", callback=utf8)] = None,
    limit: Limit = None,
    rate: Annotated[float | None, typer.Option(help="At most so many mails a second.", min=0.01, callback=finite)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Preview what would become of recorded mails now; with --apply, process them again.

    The preview writes nothing, and of handlers calls only their own `preview`; its exit status is 1 when a delivery would not be as it
    was. A replay takes only deliveries that are not handled (see --redo) and not on their way, and writes to nobody (see --replies)."""
    site = from_context(ctx)
    number = resume or abandon
    if number is not None:
        if apply or selectors.given or (resume and abandon):
            _wrong("--resume and --abandon: they are about the selection of that replay; give nothing that chooses mails")
        with alone(site):
            _go_on(site, number, Pace(rate), give_up=abandon is not None, as_json=as_json)
    elif apply:
        if settings:
            _wrong("--settings: only for a preview; the roles that process the mails have their own settings")
        if not selectors.given:
            _wrong("--apply: say which mails, with at least one selector (--since 1970-01-01 for all)")
        marker = Marker(rfc3339(now_ms()), who(), why, selectors, start, as_of, redo, replies, limit)
        site.ensure_topics()
        with alone(site):
            _apply(site, marker, Pace(rate), as_json=as_json)
    else:
        selectors.filter(now_ms())  # said here if it is wrong, and not by each process
        _preview(site, Trial(settings, selectors, now_ms(), start, as_of == "now"), limit, as_json=as_json)


def _preview(site: Site, trial: Trial, limit: int | None, *, as_json: bool) -> NoReturn:
    with ExitStack() as open_bar:

        def counted(mails: int, deliveries: int) -> Tick:
            print(f"postroom: {mails:,} mails with {deliveries:,} deliveries are selected", file=sys.stderr, flush=True)
            return open_bar.enter_context(bar("preview", mails))

        found, deliveries = preview(site, trial, limit, counted)
    out = Out()
    if as_json:
        out.json(preview_document(found, deliveries))
    else:
        show_preview(found, out)
    out.flush()
    sys.exit(1 if found.differences else 0)


def _apply(site: Site, marker: Marker, pace: Pace, *, as_json: bool) -> None:
    wanted = marker.selectors.filter(marker.at_ms)
    try:
        refuse_if_busy(site.log, site.topics)
        chosen = Selection(site.log, site.topics, wanted, every=False, redo=marker.redo)
        if not chosen.count:
            _say(None, chosen, as_json=as_json)
            return
        marker = marker.bounded(chosen.ends, mails=chosen.count, deliveries=chosen.deliveries)
        generation = marker.append(site.log, site.topics)
    except Busy as error:
        stop(str(error), 75)
    how_many = chosen.count if marker.limit is None else min(chosen.count, marker.limit)
    print(
        f"postroom: replay {generation} of {how_many:,} mails; should it be interrupted: postroom replay --resume {generation}",
        file=sys.stderr,
        flush=True,
    )
    claim = Claim(site.log, site.topics, generation, generation)  # the marker itself is the word
    _bring(Apply(site, marker, claim), chosen, frozenset(), pace, as_json=as_json)


def _go_on(site: Site, generation: int, pace: Pace, *, give_up: bool, as_json: bool) -> None:
    try:
        marker = Marker.read(site.log, site.topics, generation)
    except NoReplay as error:
        stop(str(error), 1)
    if give_up:
        finish(site.log, site.topics, generation, {})
        return
    claim = Claim.renewed(site.log, site.topics, generation)  # first: what another then still brings in is one batch at most
    inside = brought_in(site, marker, generation)
    wanted = marker.selectors.filter(marker.at_ms)
    chosen = Selection(site.log, site.topics, wanted, marker.ends, every=False, redo=marker.redo, but=generation)
    _bring(Apply(site, marker, claim), chosen, inside, pace, as_json=as_json)


def _bring(apply: Apply, chosen: Selection, inside: frozenset[int], pace: Pace, *, as_json: bool) -> None:
    with bar("bringing in", chosen.count) as tick:
        try:
            done = apply.bring(chosen, inside, pace, tick)
        except Superseded as error:
            stop(str(error), 75)
    _say(done, chosen, as_json=as_json)


def _say(done: Brought | None, chosen: Selection, *, as_json: bool) -> None:
    out = Out()
    if as_json:
        out.json(brought_document(done, chosen.left_out))
    else:
        show_brought(done, chosen.left_out, out)
    out.flush()


def _wrong(why: str) -> NoReturn:
    stop(why, 2)
