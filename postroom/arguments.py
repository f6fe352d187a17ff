"""What the command line is given, beyond its types."""

import math
from typing import Any

import typer


def utf8(given: Any) -> Any:
    """For options and arguments that are looked for, or kept, as text: what was given, one or several. File names need not be UTF-8, so
    they do not come here. Raises BadParameter."""
    for text in given if isinstance(given, list | tuple) else [given]:
        if isinstance(text, str) and not _encodes(text):
            raise typer.BadParameter(f"{text!r} is not UTF-8")
    return given


def finite(given: float | None) -> float | None:
    """For numbers that are counted with: a bound below lets infinity pass, and what is no number. Raises BadParameter."""
    if given is not None and not math.isfinite(given):
        raise typer.BadParameter(f"{given} is no number to count with")
    return given


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
