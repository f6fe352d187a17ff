"""`why`: the reasons of a mail's outcomes."""

from dataclasses import asdict
from typing import Annotated

import typer

from postroom.arguments import utf8
from postroom.commands.reading import find
from postroom.reading.out import Out
from postroom.reading.render import STYLES
from postroom.replay.why import Reasons, reasons
from postroom.site import from_context


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("why")(why)


def why(
    ctx: typer.Context,
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="As `show` takes it: a mail, delivery or OOPS id, or a Message-ID.", callback=utf8)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each delivery.")] = False,
) -> None:
    """Explain in sentences why a mail came out as it did, and what would have to be different."""
    mail = find(from_context(ctx), id_)
    out = Out()
    for one in reasons(mail):
        if as_json:
            out.json({"mail_id": mail.mail_id} | asdict(one))
        else:
            _tell(mail.mail_id, one, out)
    out.flush()


def _tell(mail_id: str, told: Reasons, out: Out) -> None:
    word = ", ".join(filter(None, (told.status or "pending", told.reason)))
    whom = f" for {told.recipient}" if told.recipient else ""
    out.line((f"mail {mail_id}{whom}: ", "bold"), (word, STYLES[told.status]))
    for sentence in told.because:
        out.line((f"  {sentence}", ""))
    if told.otherwise:
        out.line()
        out.line(("  What would have to be different:", "bold"))
        for sentence in told.otherwise:
            out.line((f"  {sentence}", ""))
    out.line()
