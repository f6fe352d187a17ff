"""The command line. Exit status: 0 done, 1 found something wrong, 2 wrong use, 75 try again later."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from postroom.commands import accounts, demo, ingest, reading, replay, running, setup, topics, why
from postroom.settings import SettingsError
from streams.errors import Fatal, LogError
from streams.faults import Hold, Newer

EX_TEMPFAIL = 75

app = typer.Typer(
    name="postroom",
    help="An event-sourced processor for incoming mail: nothing is lost, and every mail can be explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for subject in (setup, topics, accounts, ingest, running, reading, replay, why, demo):
    subject.register(app)


@app.callback()
def _options(
    ctx: typer.Context,
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file; its paths are relative to it.")] = Path(
        "postroom.toml"
    ),
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error: what is logged on stderr.")] = "warning",
) -> None:
    level = logging.getLevelName(log_level.upper())
    if not isinstance(level, int):
        raise typer.BadParameter(f"{log_level!r} is no level: write debug, info, warning or error", param_hint="--log-level")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    ctx.obj = config


def main() -> None:
    """The console script."""
    try:
        app()
    except (SettingsError, Fatal, Newer) as error:
        _say(error, 2)
    except (LogError, Hold) as error:
        _say(error, EX_TEMPFAIL)
    except BrokenPipeError:
        # The reader of our output has gone (`postroom list | head`); nothing is left to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _say(error: Exception, status: int) -> None:
    for line in str(error).splitlines():
        print(f"postroom: {line}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
