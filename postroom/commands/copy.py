"""`copy`, `backup` and `restore`: a log taken elsewhere, put by, and put back."""

import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from postroom.bar import bar
from postroom.copying.backup import Backup, restore_log, take
from postroom.copying.copy import Differs, Report
from postroom.copying.copy import copy as copied
from postroom.copying.ends import filling, place_of, refuse_missing, site_of, stands_still
from postroom.copying.objects import carry, same
from postroom.reading.out import Out, stop
from postroom.replay.marker import Busy
from postroom.site import Site, from_context

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
_END = "A settings file, or a log's URL beside --config's other settings: sqlite:///FILE, kafka://HOST:PORT, and ?prefix=P behind it."


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("copy")(copy)
    app.command("backup")(backup)
    app.command("restore")(restore)


def copy(
    ctx: typer.Context,
    from_: Annotated[str, typer.Argument(metavar="FROM", help=_END)],
    to: Annotated[str, typer.Argument(metavar="TO", help="Likewise. There must be no records yet.")],
    as_json: Json = False,
) -> None:
    """Take a log to another engine, place or prefix: mails, outcomes, replies, what is open and what is remembered.

    Everything that works on FROM must be stopped. FROM is only read; TO is there when all of it is, and fsck has said the same of it as
    of FROM. Interrupted, it begins again. Then change [log] url, or prefix, and start the roles."""
    base = from_context(ctx)
    with closing(site_of(from_, base)) as source, closing(site_of(to, base)) as target:
        if place_of(source) == place_of(target):
            stop(f"FROM and TO are the same log, {source.settings.log.url} with the prefix {source.topics.prefix}", 2)
        refuse_missing(source)
        report = _guarded(lambda: _copy(source, target))
        _tell(report, {"from": _end(source), "to": _end(target)}, as_json=as_json)


def backup(
    ctx: typer.Context,
    to: Annotated[Path, typer.Argument(metavar="TO", help="A folder that is not there yet, or is empty.")],
    as_json: Json = False,
) -> None:
    """Put a copy of log and archive by, in a folder. On SQLite roles may go on meanwhile; on Kafka they must be stopped.

    Settings, accounts, keys and OOPS reports are files of yours, and not in it."""
    site = from_context(ctx)
    refuse_missing(site)
    made = _guarded(lambda: take(site, to, partial(bar, unit="records")))
    _say_backup(made, "backup", "of the archive", as_json=as_json)


def restore(
    ctx: typer.Context,
    from_: Annotated[Path, typer.Argument(metavar="FROM", help="A folder that `postroom backup` wrote.")],
    as_json: Json = False,
) -> None:
    """Put a backup in place as the log and archive of the settings, which must hold no records yet.

    The log then stands where it stood: read docs/moving.md about replies that were sent since, before you start the roles."""
    site = from_context(ctx)
    made = _guarded(lambda: restore_log(site, from_, partial(bar, unit="records")))
    print(
        f"postroom: what was done after {made.taken_at} is unknown to this log. Set `silent_before` in [replies] before you start the "
        "roles, or mails of that time are answered again; see docs/moving.md",
        file=sys.stderr,
    )
    _say_backup(made, "restored", "put into the archive", as_json=as_json)


def _copy(source: Site, target: Site) -> Report:
    def archive() -> int:
        if same(source, target):
            return 0
        with bar("archive", None, "contents") as tick:
            return carry(source.archive, target.archive, tick)

    with closing(filling(target)) as new:
        return copied(source, target, new, lambda: stands_still(source), partial(bar, unit="records"), archive)


def _guarded(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Differs as error:
        stop(str(error), 1)
    except Busy as error:
        stop(str(error), 75)


def _end(site: Site) -> dict[str, str]:
    return {"url": site.settings.log.url, "prefix": site.topics.prefix}


def _tell(report: Report, ends: dict[str, Any], *, as_json: bool) -> None:
    out = Out()
    names = ("from", "to", "records", "partitions_before", "partitions")
    topics = [dict(zip(names, topic, strict=True)) for topic in report.topics]
    if as_json:
        out.json({**ends, "topics": topics, "open": report.open, "left": report.left, "contents": report.contents, "fsck": report.accounts})
    else:
        for topic in topics:
            moved = "" if topic["partitions"] == topic["partitions_before"] else f"  ({topic['partitions_before']} → {topic['partitions']})"
            out.line((f"{topic['records']:>12,}  {topic['to']}", ""), (f"{moved} partitions" if moved else "", "dim"))
        for group, count in report.open.items():
            if count:
                out.line((f"{count:>12,}  records are open for {group}", "bold"))
        if report.contents:
            out.line((f"{report.contents:>12,}  contents of the archive", ""))
        for name in report.left:
            out.line((f"left behind: {name}, which is no topic of postroom's", "bold"))
        out.line((f"fsck says the same of both: {report.accounts['raw']:,} mails", "bold"))
    out.flush()


def _say_backup(made: Backup, word: str, archive: str, *, as_json: bool) -> None:
    out = Out()
    if as_json:
        out.json(made.document())
    else:
        out.line((f"{word}: {made.fsck['raw']:,} mails, {made.contents:,} contents {archive}, as of {made.taken_at}", "bold"))
    out.flush()
    faults = [f"{made.fsck[name]} {name}" for name in ("lost", "doubled", "unknown") if made.fsck[name]]
    if made.missing:
        faults.append(f"the archive misses the bytes of {made.missing:,} mails")
    if faults:
        stop(f"fsck finds faults in it ({', '.join(faults)}), as it does in the log that it was made of", 1)
