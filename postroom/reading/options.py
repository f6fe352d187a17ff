"""The selectors as options of a command: `@selecting` gives a command all of them, and hands it one `Selectors`."""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from postroom.arguments import utf8
from postroom.printable import tell
from postroom.reading.selectors import SelectorError, Selectors

P = ParamSpec("P")
R = TypeVar("R")

_PANEL = "Selectors: joined by and; one given more than once takes any of its values"


def _several(metavar: str, help_: str, kind: Any = str, name: str | None = None) -> Any:
    names = [name] if name else []
    return Annotated[list[kind] | None, typer.Option(*names, help=help_, rich_help_panel=_PANEL, metavar=metavar, callback=utf8)]


def _one(metavar: str, help_: str) -> Any:
    return Annotated[str | None, typer.Option(help=help_, rich_help_panel=_PANEL, metavar=metavar, callback=utf8)]


OPTIONS: dict[str, Any] = {
    "status": _several("STATUS", "handled, dropped, rejected, returned or failed."),
    "reason": _several("CODE", "A reason code, such as unknown-sender."),
    "handler": _several("NAME", "The handler's name."),
    "sender": _several("ADDRESS", 'The author or the envelope sender; "" or "<>" is the null sender.'),
    "envelope_sender": _several("ADDRESS", "The envelope sender only."),
    "recipient": _several("ADDRESS", "Whom the mail is for."),
    "domain": _several("DOMAIN", "The recipient's domain."),
    "account": _several("ID", "The sender's account."),
    "strength": _several("STRENGTH", "unknown, weak or strong."),
    "message_id": _several("ID", "The Message-ID, with or without brackets."),
    "id": _several("ID", "A mail id or delivery id, or at least 8 digits of its beginning.", name="--id"),
    "oops": _several("OOPS", "The OOPS id that a sender was told."),
    "fingerprint": _several("TEXT", "The cause of a failure; see `postroom failures`."),
    "generation": _several("N", "0 for the first processing, else a replay's number; shows replaced outcomes too.", int),
    "topic": _several("NAME", "The topic of the raw record, by its full name."),
    "offset_range": _several("RANGE", "Offsets of the raw record: [PARTITION:]FIRST[-LAST]."),
    "since": _one("TIME", "Received then or later: 2026-03-01, an RFC 3339 time, 30d, 24h, today."),
    "until": _one("TIME", "Received before then."),
    "where": _one("EXPR", 'For or and not: \'status == "failed" and not (handler in ("a", "b") or sender like "*@x.org")\'.'),
}


def selecting(command: Callable[P, R]) -> Callable[..., R]:
    """Replaces a command's parameter `selectors` by the options above. What cannot be understood is an error of usage."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "selectors"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in OPTIONS.items()]

    @wraps(command)
    def with_options(*args: Any, **values: Any) -> R:
        given: dict[str, Any] = {}
        for name in OPTIONS:
            value = values.pop(name)
            if value is not None:
                given[name] = tuple(value) if isinstance(value, list) else value
        try:
            return command(*args, selectors=Selectors(**given), **values)  # type: ignore[arg-type]
        except SelectorError as error:
            tell(str(error))
            sys.exit(2)

    made: Any = with_options
    # Typer reads the parameters from the signature, and their types from the annotations.
    made.__signature__ = signature.replace(parameters=[*(p.replace(kind=keyword) for p in own), *added])
    made.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)} | {"return": signature.return_annotation}
    del made.__wrapped__
    return with_options
