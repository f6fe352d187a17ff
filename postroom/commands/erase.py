"""`erase` and `trim`: taking mails out of the log and the archive, chosen ones or those past retention."""

import sys
import threading
from collections import Counter
from typing import Annotated

import typer

from postroom.arguments import utf8
from postroom.bar import bar
from postroom.erasing.choice import choose
from postroom.erasing.erase import Erasing
from postroom.erasing.report import erase_document, remains, show_erase
from postroom.erasing.tombstone import Erased
from postroom.reading.options import selecting
from postroom.reading.out import Out, stop
from postroom.reading.selectors import Selectors
from postroom.replay.marker import Busy, refuse_if_busy, who
from postroom.retention import enforced, in_force
from postroom.retention import trim as trim_log
from postroom.site import from_context, now_ms
from topology.facts import rfc3339

EX_TEMPFAIL = 75


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("erase")(erase)
    app.command("trim")(trim)


@selecting
def erase(
    ctx: typer.Context,
    selectors: Selectors,
    apply: Annotated[bool, typer.Option("--apply", help="Erase them; there is no way back.")] = False,
    why: Annotated[str | None, typer.Option(help="What for; stands in the tombstones.", metavar="TEXT", callback=utf8)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what erasing the chosen mails would take away and what would remain; with --apply, erase them.

    A mail is erased whole, with all its deliveries, if one of them is chosen. A tombstone with its hash, its size and what became of it
    stays, so that `fsck` adds up. Exit status 75 when something that was chosen could not be erased yet: run it again."""
    if not selectors.given:
        stop("erase: say which mails, with at least one selector (--sender, --id, …)", 2)
    wanted = selectors.filter(now_ms())
    site = from_context(ctx)
    log, topics = site.log, site.topics
    if apply:
        try:
            refuse_if_busy(log, topics)
        except Busy as error:
            stop(str(error), EX_TEMPFAIL)
    choice = choose(log, topics, wanted)
    erased = Erased(rfc3339(now_ms()), who(), why) if apply else None
    with bar("erasing" if apply else "looking", None, "records") as tick:
        tally = Erasing(log, topics, site.archive, site.oopses, choice, erased).run(tick)
    left = list(remains(tally, topics.raw, in_force(site), revisable=log.revisable))
    document = erase_document(tally, left, applied=apply, revisable=log.revisable)
    out = Out()
    if as_json:
        out.json(document)
    else:
        show_erase(document, out, revisable=log.revisable)
    out.flush()
    if apply and (tally.on_its_way or tally.waiting or tally.scrubbed is False):
        sys.exit(EX_TEMPFAIL)


def trim(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object: topic and records dropped.")] = False
) -> None:
    """Drop what is older than [log.topics] retention from the embedded log, now; `run` does so by itself every ten minutes.

    Nothing is dropped that a group has still to read. On Kafka the broker enforces retention."""
    site = from_context(ctx)
    kept = enforced(site)
    dropped: Counter[str] = Counter()
    trim_log(site.log, kept, lambda topic, count: dropped.update({topic: count}), threading.Event())
    out = Out()
    if as_json:
        out.json({topic: dropped[topic] for topic in kept})
    elif not kept:
        out.line(("nothing to do: [log.topics] retention is not set, or the broker enforces it", ""))
    else:
        for topic, count in dropped.items():
            out.line((f"{count:>9,}  records of {topic} dropped", ""))
        out.line((f"{dropped.total():>9,}  in all", "bold"))
    out.flush()
