"""The command line. Exit status: 0 done, 1 found something wrong, 2 wrong use, 75 try again later."""

import atexit
import errno
import gc
import io
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from postroom.leaving import leave_in_time
from postroom.printable import log_to_stderr, tell
from postroom.settings import SettingsError
from streams.errors import Fatal, LogError
from streams.faults import Hold, Newer

EX_TEMPFAIL = 75

COMMANDS = {
    "init": "setup",
    "check": "setup",
    "topology": "setup",
    "topics": "topics",
    "lag": "topics",
    "accounts": "accounts",
    "import": "ingest",
    "pipe": "ingest",
    "run": "running",
    "list": "reading",
    "show": "reading",
    "tail": "reading",
    "oops": "reading",
    "failures": "reading",
    "fsck": "reading",
    "replay": "replay",
    "why": "why",
    "copy": "copy",
    "backup": "copy",
    "restore": "copy",
    "export": "export",
    "erase": "erase",
    "trim": "erase",
    "demo": "demo",
}
"""The module of `postroom.commands` that each stands in. One is loaded when it is called: a mail server's pipe starts a process a mail,
and to load them all takes longer than to take the mail in."""


class _Commands(TyperGroup):
    """The commands of the table, each loaded at its first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        room = typer.Typer(rich_markup_mode=None)
        import_module(f"postroom.commands.{COMMANDS[cmd_name]}").register(room)
        return get_group(room).commands[cmd_name]

    def invoke(self, ctx: Any) -> Any:
        """Runs a command, and sees to it that its output has gone out before its exit status says so."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # The reader of our output has gone (`postroom list | head`); nothing is left to say, and nobody to say it to.
            _mute()
            sys.exit(0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _mute()
            _say(error, EX_TEMPFAIL)


app = typer.Typer(
    name="postroom",
    cls=_Commands,
    help="An event-sourced processor for incoming mail: nothing is lost, and every mail can be explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    ctx: typer.Context,
    # Whether it can be read is for the settings to say: to a pipe that is no wrong use, but 75.
    config: Annotated[Path, typer.Option("--config", "-c", readable=False, help="The settings file; its paths are relative to it.")] = Path(
        "postroom.toml"
    ),
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error: what is logged on stderr.")] = "warning",
) -> None:
    level = logging.getLevelName(log_level.upper())
    if not isinstance(level, int):
        raise typer.BadParameter(f"{log_level!r} is no level: write debug, info, warning or error", param_hint="--log-level")
    log_to_stderr(level)
    ctx.obj = config


def main() -> None:
    """The console script."""
    _streams()
    # The process's memory goes with it; to look through it for cycles first is a seventh of what a short command takes.
    atexit.register(gc.freeze)
    status = 1
    try:
        _call()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        leave_in_time(status)


def _call() -> None:
    try:
        app()
    except (SettingsError, Fatal, Newer) as error:
        _say(error, 2)
    except (LogError, Hold) as error:
        _say(error, EX_TEMPFAIL)


class _Heard(io.FileIO):
    """Standard error, whether somebody hears it or not: on a full disk, or where the reader has gone, what is said is lost, and what is
    done and its exit status are as they would be."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def _streams() -> None:
    """Sees to it that standard output and error are there. What stands open in place of a closed one would be the next file: the log."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Heard(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True)


def _mute() -> None:
    """What is still to be written on standard output goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(error: Exception, status: int) -> None:
    tell(str(error))
    sys.exit(status)


if __name__ == "__main__":
    main()
