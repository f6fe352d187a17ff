"""`run`: the roles, in one process or in many."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from postroom.site import from_context
from postroom.values import seconds

if TYPE_CHECKING:
    from postroom.running import Left


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(run)


def run(
    ctx: typer.Context,
    roles: Annotated[
        list[str] | None,
        typer.Argument(
            help="lmtp, smtp, chain (or bounce-filter, authentication, routing), handler:NAME, settle, replyer, postman, dashboard. "
            "Default: all."
        ),
    ] = None,
    drain: Annotated[bool, typer.Option(help="Stop when everything is done; 75 when only waiting things are left.")] = False,
    patience: Annotated[str, typer.Option(help="With --drain: how long only waiting things may be left.")] = "30s",
    slot: Annotated[
        str | None, typer.Option(help="On Kafka: this worker's slot; else POSTROOM_SLOT, else the lowest that is free.")
    ] = None,
) -> None:
    """Process mails."""
    from postroom.forgotten import refuse_forgotten
    from postroom.retention import Trimmer, enforced
    from postroom.roles import Roles, UnknownRole
    from postroom.running import Supervisor

    try:
        waits = seconds(patience)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--patience") from error
    site = from_context(ctx)
    try:
        site.slot = slot
        chosen = Roles(site, roles or [], drain)
    except UnknownRole as error:
        raise typer.BadParameter(str(error), param_hint="ROLE") from error
    chosen.probe_ports()
    site.ensure_topics()
    kept = enforced(site)
    trimming = [Trimmer(site.log, kept)] if kept else []
    runners = chosen.runners()
    refuse_forgotten(site.log, [(runner.group, runner.topics) for runner in runners], site.topics.outcomes)
    supervisor = Supervisor(site.log, runners, [*trimming, *chosen.services()])
    if not drain:
        supervisor.run()
        return
    with _Bar() as bar:
        left = supervisor.drain(waits, bar.shows)
    if left is not None:
        _say_what_is_left(left)
        sys.exit(os.EX_TEMPFAIL)


def _say_what_is_left(left: "Left") -> None:
    counts = ", ".join(f"{count} in {group}" for group, count in left.counts.items())
    print(f"postroom: stopped with work left: {counts or 'nothing more'}; run again later", file=sys.stderr)


class _Bar:
    """How far a drain has come, on a terminal."""

    def __enter__(self) -> "_Bar":
        console = Console(stderr=True)
        columns = (TextColumn("processing"), BarColumn(), MofNCompleteColumn(), TextColumn("records"))
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("processing", total=None)
        self._most = 0
        self._progress.start()
        return self

    def shows(self, left: int) -> None:
        """Called with the records still to pass; their number may grow, as each stage passes records on to the next."""
        self._most = max(self._most, left)
        self._progress.update(self._task, total=self._most, completed=self._most - left)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
