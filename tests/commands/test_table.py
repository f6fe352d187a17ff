"""The table of commands, each loaded at its first use."""

import pkgutil
import subprocess
import sys
from importlib import import_module

import typer
from typer.main import get_group

from postroom import commands
from postroom.cli import COMMANDS


def test_every_command_of_every_module_stands_in_the_table() -> None:
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(commands.__path__):
        room = typer.Typer()
        import_module(f"postroom.commands.{module.name}").register(room)
        found |= dict.fromkeys(get_group(room).commands, module.name)
    assert found == COMMANDS


def test_a_pipe_loads_no_other_command_and_no_broker() -> None:
    """A mail server starts a process a mail."""
    code = "import sys, postroom.cli, postroom.commands.ingest; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "postroom.commands.ingest" in loaded
    assert not {"postroom.commands.reading", "confluent_kafka", "psycopg2", "pysequoia", "faust"} & set(loaded)
