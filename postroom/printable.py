"""What mails, files and errors bring along, as a terminal or a journal may show it."""

import logging
import sys


def safe(text: str) -> str:
    """Text out of a mail as a terminal may show it: whatever could move the cursor, change colours, turn the direction of reading
    or hide itself is written as an escape (Unicode's categories Cc, Cf, Cs, Co, Cn, Zl, Zp)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char == "\N{NO-BREAK SPACE}" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def tell(words: str) -> None:
    """Says so on standard error, in as many lines as the words have, each of safe text."""
    for line in words.splitlines():
        print(f"postroom: {safe(line)}", file=sys.stderr)


class LogLines(logging.Formatter):
    """A line of safe text for each record. A traceback follows in lines of its own, set in, so that none can pass for a record; that of
    another process stands in the record's `traceback`, as text."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - see logging.Formatter
        """See logging.Formatter."""
        return safe(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        told, elsewhere = super().format(record), getattr(record, "traceback", None)
        first, *further = (f"{told}\n{elsewhere.rstrip()}" if elsewhere else told).split("\n")
        return "\n".join((first, *(f"  {safe(line)}" for line in further)))


def log_to_stderr(level: int) -> None:
    """Sets up what this process logs: records of that level and above, on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
