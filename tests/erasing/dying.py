"""Erases as the command does, and is killed with SIGKILL on the way."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postroom.erasing.choice import choose
from postroom.erasing.erase import Erasing
from postroom.erasing.tombstone import Erased
from postroom.reading.selectors import Selectors
from postroom.site import Site, now_ms


class Countdown:
    """Kills this process behind one of the calls that it was put round, which is as good as before the next."""

    def __init__(self, number: int) -> None:
        self._left = number

    def round(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, deadly at its turn."""

        def deadly(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return deadly


def erase_and_die(settings: Path, number: int, sender: str) -> bool:
    """Erases the mails of an envelope sender in a process of its own, which is killed behind its Nth change. Returns whether it was; it
    came through where there are fewer changes."""
    child = os.fork()
    if not child:
        status = 1
        try:
            _erase(settings, Countdown(number), sender)
            status = 0
        finally:
            os._exit(status)
    _, how = os.waitpid(child, 0)
    assert how in (0, signal.SIGKILL)
    return how != 0


def _erase(settings: Path, deadly: Countdown, sender: str) -> None:
    site = Site.at(settings)
    log, archive, oopses = site.log, site.archive, site.oopses
    for part, names in ((log, ("append", "revise", "scrub")), (archive, ("release",)), (oopses, ("forget",))):
        for name in names:
            setattr(part, name, deadly.round(getattr(part, name)))
    choice = choose(log, site.topics, Selectors(envelope_sender=(sender,)).filter(now_ms()))
    Erasing(log, site.topics, archive, oopses, choice, Erased("2026-03-02T10:00:00.000Z", "test@here", "asked")).run(lambda _count: None)
