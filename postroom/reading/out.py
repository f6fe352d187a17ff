"""Standard output: JSON, or lines for people that are styled on a terminal and plain when piped."""

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from postroom.printable import tell
from postroom.reading.draw import as_parts, as_renderable
from postroom.reading.render import Part, plain, styled
from postroom.reading.timeline import Story

if TYPE_CHECKING:
    from rich.console import Console


def stop(why: str, status: int) -> NoReturn:
    """Ends the command with that exit status, and a line or some on standard error."""
    tell(why)
    sys.exit(status)


def _console() -> "Console":
    from rich.console import Console  # here, because it takes longer to load than many a command to run

    return Console(highlight=False, markup=False, emoji=False)


class Out:
    """Standard output: a JSON object a line, or lines for people."""

    def __init__(self) -> None:
        self._console = _console() if sys.stdout.isatty() else None

    def json(self, value: Any) -> None:
        """A JSON object on a line of its own; what JSON does not know is written as its text."""
        sys.stdout.buffer.write(orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE))

    def line(self, *parts: Part) -> None:
        """A line of safe text. On a terminal it wraps as the terminal does."""
        if self._console:
            self._console.print(styled(parts), soft_wrap=True)
        else:
            sys.stdout.buffer.write(plain(parts).encode("utf-8", "backslashreplace") + b"\n")

    def story(self, told: Story) -> None:
        """A mail's timeline."""
        if self._console:
            self._console.print(as_renderable(told))
        else:
            for parts in as_parts(told):
                self.line(*parts)

    def flush(self) -> None:
        """Lets go of what is buffered, so that whoever reads along sees it."""
        sys.stdout.flush()
        sys.stdout.buffer.flush()
