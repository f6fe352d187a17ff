"""`topics` and `lag`: what the log has, and how far it has been read."""

import sys
from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from postroom import drift
from postroom.drift import TopicRow
from postroom.reading.lag import Lag, lag
from postroom.site import from_context, now_ms
from streams.errors import TopicMissing
from topology.facts import rfc3339

AsJson = Annotated[bool, typer.Option("--json", help="A line of JSON a row; null where there is nothing to say.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(topics)
    app.command("lag")(lag_)


def topics(
    ctx: typer.Context,
    create: Annotated[bool, typer.Option("--create", help="Create the topics that are missing, and their groups' starts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the topics that the settings imply. Exit 1 when one is missing or differs from [log.topics]. What is there stays as it is."""
    site = from_context(ctx)
    if create:
        site.create_topics(site.topic_specs())
    rows = drift.compare(site)
    if as_json:
        _write([asdict(row) for row in rows])
    else:
        _draw_topics(rows)
    wrong = [row for row in rows if row.state != "ok"]
    for row in wrong:
        words = "; ".join(row.drift) or "missing; `postroom topics --create` makes it"
        print(f"postroom: {row.topic}: {words}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


def lag_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show how far each group is behind in each of its topics, how long the oldest record has waited, and how long retention leaves
    it. Exit 1 when retention has taken what a group had not passed."""
    site = from_context(ctx)
    there = drift.compare(site)
    if missing := [row.topic for row in there if row.state == "missing"]:
        raise TopicMissing(f"{', '.join(missing)}: missing on the log; `postroom topics --create` makes them")
    retention = {row.topic: row.retention for row in there}
    now = now_ms()
    rows = list(lag(site.log, site.groups(), retention, now))
    if as_json:
        _write(
            [asdict(row) | {"oldest": None if row.oldest is None else rfc3339(row.oldest), "waiting": _waiting(row, now)} for row in rows]
        )
    else:
        _draw_lag(rows, now)
    lost = [row for row in rows if row.expired]
    for row in lost:
        print(
            f"postroom: {row.group}: retention took {row.expired} offsets of {row.topic} before they were passed, so the role stops there; "
            "[log.topics] retention is too short",
            file=sys.stderr,
        )
    sys.exit(1 if lost else 0)


def _waiting(row: Lag, now: int) -> float | None:
    """Seconds that the oldest has waited; a broker's clock may be ahead of ours."""
    return None if row.oldest is None else max(0, now - row.oldest) / 1000


def _write(rows: list[dict[str, object]]) -> None:
    for row in rows:
        sys.stdout.buffer.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def _draw_topics(rows: list[TopicRow]) -> None:
    grid = _grid("topic", "state", "partitions", "replication", "retention", "min.insync.replicas", "max.message.bytes")
    for row in rows:
        kept = "" if row.replication is None else "for ever" if row.retention is None else span(row.retention)
        numbers = (row.partitions, row.replication, kept, row.min_insync_replicas, row.max_message_bytes)
        grid.add_row(row.topic, row.state, *("" if number is None else str(number) for number in numbers))
    _print(grid)


def _draw_lag(rows: list[Lag], now: int) -> None:
    grid = _grid("group", "topic", "behind", "oldest waits", "retention left")
    for row in rows:
        waits = _waiting(row, now)
        left = row.retention_left
        grid.add_row(row.group, row.topic, str(row.behind), "" if waits is None else span(waits), "" if left is None else span(left))
    _print(grid)


def _grid(*columns: str) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        grid.add_column(column, no_wrap=True, justify="left" if number < 2 else "right")
    return grid


def _print(grid: Table) -> None:
    """As wide as it is where it is piped: a cut name is no name."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(80, console.measure(grid, options=console.options.update_width(1000)).maximum))
    console.print(grid)


def span(seconds: float) -> str:
    """A duration in its two largest units: 3d 4h, 5min 20s, 0s."""
    rest, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
