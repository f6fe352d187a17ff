"""`demo`: the whole way of some mails, to watch; leaves a working folder behind."""

import email
import logging
import os
import shutil
import sys
from email.message import Message
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from postroom import demo as demonstration
from postroom.commands.reading import find
from postroom.printable import LogLines
from postroom.reading.draw import as_renderable
from postroom.reading.outcomes import Outcomes
from postroom.reading.rows import Found
from postroom.reading.selectors import Selectors
from postroom.reading.timeline import story
from postroom.site import Site, now_ms

_STYLES = {"handled": "green", "dropped": "dim", "rejected": "yellow", "returned": "cyan", "failed": "red"}
_SYMBOLS = {"handled": "✓", "dropped": "·", "rejected": "–", "returned": "↩", "failed": "✗"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


Folder = Annotated[Path, typer.Option(help="The working folder; an earlier demo there is replaced.")]


def demo(folder: Folder = Path("postroom-demo")) -> None:
    """Run the demo: sample mails through every stage, on the embedded log."""
    from postroom.ingest.importing import Options, run_import

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    file = demonstration.lay_out(folder.absolute())
    site = Site.at(file)
    _log_to(file.with_name("postroom.log"))
    try:
        site.ensure_topics()
        count = sum(1 for _ in run_import([file.parent / "mails"], Options(), site.acceptor))
        console.print(f"[bold]postroom[/] demo in {folder}/: {count} mails taken in, now processing them\n")
        _drain(site)
        _show(site, console, folder)
    finally:
        site.close()


def _log_to(file: Path) -> None:
    """The demo provokes errors, so what it logs goes to a file; the terminal is for its tables."""
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(LogLines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().handlers = [handler]


def _drain(site: Site) -> None:
    from postroom.roles import Roles
    from postroom.running import Supervisor

    roles = Roles(site, [], drain=True)
    left = Supervisor(site.log, roles.runners()).drain(30.0, lambda _left: None)
    if left is not None:
        raise RuntimeError(f"the demo did not come to its end: {left.counts}")


def _show(site: Site, console: Console, folder: Path) -> None:
    """The outcomes as a table, one mail's way, and the OOPS mail that went back."""
    found = list(Outcomes(site.log, site.topics).found(Selectors().filter(now_ms())))
    found.sort(key=lambda one: (one.row["received_at"] or "", one.row["recipient"] or ""))
    console.print(_table(found))
    oops = next(one for one in found if one.row["reason"] == "handler-error")
    console.print()
    console.print(_panel(as_renderable(story(find(site, str(oops.row["mail_id"])))), "the way of one mail", "dim"))
    console.print()
    console.print(_panel(_oops_mail(folder, str(oops.row["oops_id"])), "what its sender got back", "red"))
    shown = str(oops.row["mail_id"])[:8]
    console.print(
        f"\nThe folder [bold]{folder}/[/] has it all: the log, handlers' Maildirs, the outbox, error reports. Look around:\n"
        f"{_activation()}  cd {folder}\n"
        f"  postroom show {shown}                   # the same timeline; --raw: the mail as received\n"
        f'  postroom list --status failed            # and --json, --where \'strength == "strong" and not status == "handled"\'\n'
        f"  postroom oops {oops.row['oops_id']}\n"
        f"  less postroom.log                        # what was logged, tracebacks included\n"
        f"  postroom fsck                            # nothing is lost, nothing doubled\n"
        f"  postroom run                             # LMTP on 127.0.0.1:8024, and all stages",
        soft_wrap=True,
    )


def _activation() -> str:
    """The line by which a shell finds the program, where it does not yet: `make run` sets it up in an environment of its own."""
    script = Path(sys.prefix) / "bin" / "activate"
    return "" if shutil.which("postroom") or not script.exists() else f"  . {os.path.relpath(script)}\n"


def _panel(content: RenderableType, title: str, style: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style=style)


def _table(found: list[Found]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("outcome", "reason", "sender", "strength", "recipient", "reply"):
        table.add_column(column, overflow="fold")
    for one in found:
        row = one.row
        status = str(row["status"])
        style = _STYLES[status]
        cells = (row["reason"], row["sender"], row["strength"], row["recipient"], row["reply"])
        table.add_row(Text(f"{_SYMBOLS[status]} {status}", style), *(Text(cell or "") for cell in cells))
    return table


def _oops_mail(folder: Path, oops_id: str) -> Text:
    """The reply that quotes the id: its header and first part."""
    for path in sorted((folder / "outbox" / "new").iterdir()):
        data = path.read_bytes()
        if oops_id.encode() not in data:
            continue
        message = email.message_from_bytes(data)
        part = message.get_payload(0)
        assert isinstance(part, Message)
        words = part.get_payload(decode=True)
        assert isinstance(words, bytes)
        head = "\n".join(f"{name}: {message[name]}" for name in ("From", "To", "Subject", "Auto-Submitted", "In-Reply-To"))
        return Text(f"{head}\n\n{words.decode()}\n[the original mail is attached]")
    raise RuntimeError(f"no reply quotes {oops_id}")
