"""What people and tools read out of the log: `list`, `show`, `tail`, `oops`, `failures`, `fsck`."""

import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from postroom.arguments import utf8
from postroom.bar import bar
from postroom.erasing.unfinished import unfinished
from postroom.printable import safe
from postroom.reading.documents import Gone, as_document, bytes_of, oops_id_of, report_document, report_parts
from postroom.reading.failures import grouped
from postroom.reading.finding import Ambiguous, NotFound, resolve
from postroom.reading.fsck import COUNTS, Accounts
from postroom.reading.fsck import fsck as account
from postroom.reading.gathering import Mail, gather, keyed
from postroom.reading.holdings import hold_against
from postroom.reading.options import selecting
from postroom.reading.out import Out, stop
from postroom.reading.outcomes import Outcomes
from postroom.reading.pending import pending as waiting
from postroom.reading.references import References
from postroom.reading.render import SHORT_ID, outcome_parts
from postroom.reading.scan import Scan
from postroom.reading.selectors import Selectors
from postroom.reading.tail import Tail
from postroom.reading.tasks import Setup
from postroom.reading.timeline import story
from postroom.site import Site, from_context, now_ms

_FOLLOWING = 0.25
"""Seconds between two looks for new outcomes."""

_MEANINGS = {
    "raw": "mails taken in",
    "ended": "have one outcome for each delivery and generation",
    "on_its_way": "wait for a stage that will come to them",
    "stuck": "wait where nobody comes: no such handler, or what the group had to read next has expired",
    "repeated": "were here before, for every recipient",
    "erased": "ended, and were erased, as a tombstone says",
    "beyond_retention": "are older than what the log keeps",
    "lost": "were passed by a stage, and nothing tells what became of them; or their record is gone",
    "doubled": "have something twice: screened, a route, or an outcome of one delivery and generation",
    "unknown": "records belong to no mail of this log",
}
assert tuple(_MEANINGS) == COUNTS
_FSCK_HELP = (
    "Account for every mail: is anything lost, doubled or unknown? Exit status 1 if so, with the records that tell of it.\n\n"
    "\b\n" + "\n".join(f"{name:<17} {meaning}" for name, meaning in _MEANINGS.items()) + "\n\n"
    "raw is the sum of those from ended to doubled: a mail counts as the worst of what became of it.\n\n"
    "Then the archive: what mails need must be there, and what is there and older than a day should be needed."
)

Listed = Literal["ended", "on_its_way", "stuck", "repeated", "erased", "beyond_retention"]
"""Fates without fault, whose mails can be listed; those at fault are listed anyway."""

Json = Annotated[bool, typer.Option("--json", help="A line of JSON each; every field always there, null when empty.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("list")(list_)
    app.command("show")(show)
    app.command("tail")(tail)
    app.command("oops")(oops)
    app.command("failures")(failures)
    app.command("fsck", help=_FSCK_HELP)(fsck)


@selecting
def list_(
    ctx: typer.Context,
    selectors: Selectors,
    pending: Annotated[bool, typer.Option("--pending", help="What is still on its way instead, and for which stage it waits.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All generations, not only the latest of each delivery.")] = False,
    limit: Annotated[int | None, typer.Option(help="Stop after so many.", min=0, max=sys.maxsize)] = None,
    as_json: Json = False,
) -> None:
    """List outcomes, oldest first by the time when the log took them; with --pending what is still on its way, by stage."""
    wanted = selectors.filter(now_ms())
    site = from_context(ctx)
    _say_if_nothing_is_there(site)
    if pending:
        found = waiting(site.log, site.topics, wanted)
    else:
        found = Outcomes(site.log, site.topics).found(wanted, every=every or bool(selectors.generation))
    out = Out()
    for one in islice(found, limit):
        out.json(one.row) if as_json else out.line(*outcome_parts(one.row))
    out.flush()


def show(
    ctx: typer.Context,
    id_: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A mail id, a delivery id, at least 8 digits of either, an OOPS id, or a Message-ID.", callback=utf8
        ),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="The mail itself, byte for byte as received.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what became of a mail: when and how it came, what each stage decided and by what, and what its sender heard."""
    site = from_context(ctx)
    mail = find(site, id_)
    if raw:
        _write_raw(site, mail)
        return
    out = Out()
    if as_json:
        out.json(as_document(mail))
    else:
        out.story(story(mail))
    out.flush()


def find(site: Site, id_: str) -> Mail:
    """The mail that an id means, or the end of the program: 1 when there is none, 2 when it could be several."""
    try:
        mail_id = _mail_id_of_oops(site, id_) or resolve(site.log, site.topics, id_)
        mail = gather(site.log, site.topics, mail_id)
    except Ambiguous as error:
        stop(safe(f"{error}; give more digits, or one of these"), 2)
    except NotFound as error:
        stop(safe(str(error)), 1)
    if mail is None:
        stop(safe(f"no mail on the log has the id {id_}"), 1)
    return mail


def _mail_id_of_oops(site: Site, id_: str) -> str | None:
    """The mail that an OOPS report names; None where there is no such report (the log itself may know the id)."""
    if not id_.strip().upper().startswith("OOPS-"):
        return None
    report = _report(site, id_)
    mail_id = report.get("mail_id") if report else None
    return mail_id if isinstance(mail_id, str) and any(keyed(site.log, site.topics, mail_id)) else None


def _write_raw(site: Site, mail: Mail) -> None:
    try:
        found = bytes_of(mail, site.archive)
    except Gone as error:
        stop(safe(str(error)), 1)
    if mail.envelope.get("truncated"):
        size = mail.envelope["size"]
        print(f"postroom: only the first {len(found)} of {size:,} octets were kept: the mail is too large", file=sys.stderr)
    sys.stdout.buffer.write(found)
    sys.stdout.buffer.flush()


def oops(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id that the sender was told.", callback=utf8)],
    as_json: Json = False,
) -> None:
    """Show an error report, and what became of its mail."""
    site = from_context(ctx)
    report = _report(site, id_)
    wanted = Selectors(oops=(id_,)).filter(now_ms())
    found = next(Outcomes(site.log, site.topics).found(wanted, every=True), None)
    if report is None and found is None:
        stop(safe(f"there is no report {id_} in {site.settings.oops.path}, and no outcome on the log names it"), 1)
    out = Out()
    if as_json:
        out.json({"oops_id": oops_id_of(id_), "report": report_document(report), "outcome": found.row if found else None})
    else:
        for parts in report_parts(report):
            out.line(*parts)
        if found:
            out.line(*outcome_parts(found.row))
            out.line(("the whole story: ", "dim"), (f"postroom show {(found.row['mail_id'] or '')[:SHORT_ID]}", ""))
    out.flush()


def _report(site: Site, id_: str) -> dict[str, Any] | None:
    try:
        return site.oopses.read(oops_id_of(id_))
    except ValueError as error:
        stop(safe(str(error)), 1)


@selecting
def tail(
    ctx: typer.Context,
    selectors: Selectors,
    number: Annotated[int, typer.Option("--number", "-n", help="How many of the last ones.", min=0, max=sys.maxsize)] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And new ones as they come, until interrupted.")] = False,
    as_json: Json = False,
) -> None:
    """Show the last outcomes, and with --follow new ones as they come."""
    wanted = selectors.filter(now_ms())
    site = from_context(ctx)
    _say_if_nothing_is_there(site)
    out = Out()
    last = Tail(site.log, site.topics, wanted)
    for one in last.last(number):
        out.json(one.row) if as_json else out.line(*outcome_parts(one.row))
    out.flush()
    if not follow:
        return
    try:
        for one in last.follow(_wait):
            out.json(one.row) if as_json else out.line(*outcome_parts(one.row))
            out.flush()
    except KeyboardInterrupt:
        sys.exit(0)


def _wait() -> bool:
    time.sleep(_FOLLOWING)
    return True


@selecting
def failures(
    ctx: typer.Context,
    selectors: Selectors,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Causes of which replays have settled some, instead of all that stand.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Group failed deliveries by their cause: fingerprint, reason and handler, the most frequent first."""
    wanted = selectors.filter(now_ms())
    site = from_context(ctx)
    _say_if_nothing_is_there(site)
    out = Out()
    for group in grouped(*Outcomes(site.log, site.topics).of_all_generations(wanted)):
        if not group["resolved" if resolved else "count"]:
            continue
        if as_json:
            out.json(group)
            continue
        out.line((f"{group['count']:>7} × ", "bold"), (group["reason"], "red"), (f"  {group['handler'] or ''}", "bold"))
        out.line((" " * 10 + (group["fingerprint"] or "no exception"), ""))
        if group["detail"]:
            out.line((" " * 10 + group["detail"][:200], "dim"))
        out.line((f"{'':10}{_when(group['first_seen'])} to {_when(group['last_seen'])}", "dim"))
        if group["resolved"]:
            by = ", ".join(map(str, group["replays"]))
            out.line((f"{'':10}{group['resolved']} settled since, by replay {by}", "green"))
        out.line((f"{'':10}postroom show {group['mail_id'][:SHORT_ID]}", "dim"))
    out.flush()


def _when(at: str) -> str:
    return at[:19].replace("T", " ")


def fsck(
    ctx: typer.Context,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Take away what the archive has, no record refers to, and is older than a day.")
    ] = False,
    fate: Annotated[
        Listed | None, typer.Option("--list", help="Also list the mails of this fate with their records, the first 1,000.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Account for every mail: is anything lost, doubled or unknown? Exit status 1 if so."""
    site = from_context(ctx)
    _say_if_nothing_is_there(site)
    references = References()
    with bar("accounting", lambda: _records(site), "records") as tick:
        found = account(
            site.log,
            site.topics,
            site.handler_names,
            tick=tick,
            references=references,
            opener=partial(scanning, site.config.file),
            naming={fate: _MEANINGS[fate]} if fate else None,
        )
        held = hold_against(site.archive, references, site.log, site.topics, now_ms(), remove=remove_orphans, tick=tick)
        if found.counts["erased"]:
            found.records += unfinished(site.log, site.topics, site.archive, references.needed)
    if held:
        found.archive = held.counts
        found.records += held.records
    out = Out()
    if as_json:
        out.json(found.counts | {"archive": found.archive, "records": found.records or None, "listed": found.listed or None})
    else:
        _say(found, out)
    out.flush()
    sys.exit(0 if found.clean else 1)


def scanning(settings: Path, setup: Setup) -> Scan:
    """One of the processes that read the log for fsck."""
    site = Site.at(settings)
    return Scan(setup, site.log, site.close)


def _say_if_nothing_is_there(site: Site) -> None:
    """A log without any topic of ours looks like one on which all is well; a mistyped url and missing rights look the same."""
    if not any(site.log.partitions(spec.name) for spec in site.topic_specs()):
        log = site.settings.log
        words = f"{log.url} has no topics of the prefix {log.prefix}: nothing has come in yet, or we may not see them"
        print(f"postroom: {safe(words)}", file=sys.stderr)


def _say(found: Accounts, out: Out) -> None:
    for name, meaning in _MEANINGS.items():
        count = found.counts[name]
        bad = count and name in ("lost", "doubled", "unknown")
        out.line(
            (f"{count:>10}  ", "bold red" if bad else "bold" if count else "dim"), (f"{name:<17}", "red" if bad else ""), (meaning, "dim")
        )
    if found.archive:
        held = found.archive
        removed = f", {held['removed']:,} of them removed" if held["removed"] else " (--remove-orphans)" if held["orphans"] else ""
        out.line((f"{held['objects']:>10}  objects in the archive, {held['octets']:,} octets", ""))
        out.line((f"{held['missing']:>10}  missing there, though a mail needs them", "bold red" if held["missing"] else "dim"))
        out.line((f"{held['orphans']:>10}  there, though nothing refers to them{removed}", "yellow" if held["orphans"] else "dim"))
    for number, fault in enumerate((*found.records, *found.listed)):
        out.line()
        out.line((f"{fault['problem']}: ", "bold red" if number < len(found.records) else "bold"), (fault["why"], ""))
        if fault["mail_id"]:
            out.line((f"  mail {fault['mail_id']}" + (f", replay {fault['generation']}" if fault["generation"] else ""), ""))
        for record in fault["records"]:
            delivery = f"  delivery {record['delivery_id']}" if record["delivery_id"] else ""
            out.line((f"  {record['time']}  {record['topic']}/{record['partition']}/{record['offset']}{delivery}", "dim"))


def _records(site: Site) -> int:
    """How many records `account` reads."""
    log, topics = site.log, site.topics
    read = [topics.raw, topics.screened, topics.outcomes, *(topics.routed(name) for name in site.handler_names)]
    return sum(extent.end - extent.first for topic in read if log.partitions(topic) for extent in log.extents(topic))
