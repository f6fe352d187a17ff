"""`run`: the roles, in one process or in many."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from postroom.bar import Show, gauge
from postroom.site import from_context
from postroom.values import seconds
from streams.cores import keep

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
    core: Annotated[
        int | None, typer.Option(help="Keep the interpreter's threads on this core (Linux); the Kafka client's own use them all.")
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
    if core is not None:
        try:
            keep(core)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--core") from error
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
    supervisor = Supervisor(site.log, runners, [*trimming, *chosen.services()], prompt=chosen.prompt)
    if not drain:
        _say_what_runs(chosen.names, chosen.listening)
        supervisor.run()
        return
    with gauge("processing", "records") as show:
        left = supervisor.drain(waits, _passed(show))
    if left is not None:
        _say_what_is_left(left)
        sys.exit(os.EX_TEMPFAIL)


def _say_what_runs(names: Iterable[str], listening: Mapping[str, str]) -> None:
    """One line for somebody who has just started it; on a terminal only, because a service's journal knows the command."""
    if sys.stderr.isatty():
        said = ", ".join(f"{name} on {listening[name]}" if name in listening else name for name in names)
        print(f"postroom: running {said}. Ctrl-C stops it in good order", file=sys.stderr)


def _say_what_is_left(left: "Left") -> None:
    counts = ", ".join(f"{count} in {group}" for group, count in left.counts.items())
    print(f"postroom: stopped with work left: {counts or 'nothing more'}; run again later", file=sys.stderr)


def _passed(show: Show) -> Callable[[int], None]:
    """Shows how many of the records that were ever left are passed. Their number may grow, as each stage passes records on to the next."""
    most = 0

    def left(count: int) -> None:
        nonlocal most
        most = max(most, count)
        show(most - count, most)

    return left
