"""What Faust, mode and aiokafka have to say, among our own log lines: warnings and errors, a line of one kind once a minute, no secrets.
Left alone, they say while a broker is away some twenty lines a second."""

import logging
from collections.abc import Sequence

from streams.kafka.clients import Words

_LOG = logging.getLogger("postroom.faust")
_THEIRS = ("faust", "mode", "aiokafka")


class _Ours(logging.Handler):
    """Hands their lines on as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if _LOG.isEnabledFor(record.levelno):
            _LOG.handle(record)


def listen(secrets: Sequence[str]) -> None:
    """Takes their lines in hand, for the rest of the process. To be called again does no harm."""

    def redact(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    ours = _Ours(logging.WARNING)
    ours.addFilter(Words(redact))
    for name in _THEIRS:
        theirs = logging.getLogger(name)
        theirs.handlers, theirs.propagate = [ours], False
