"""How long the log keeps what, and who sees to that on the embedded log, where no broker does."""

import logging
import threading
from typing import Protocol

from postroom import drift
from postroom.site import Site
from streams.errors import LogError
from streams.log import Log

_log = logging.getLogger("postroom.retention")

EVERY = 600.0
"""Seconds between two rounds."""

_PAUSE = 0.02
"""Seconds between two steps, so that others come to write."""

_DAY = 86_400.0
"""The postman counts a day back in mail.replies."""


def enforced(site: Site) -> dict[str, float]:
    """Seconds by topic, as we enforce them; {} where the settings name no retention, or a broker sees to it. Where something is looked up
    in a topic for longer, it is kept for longer: repeats for the dedupe window, replies for a day."""
    retention = site.settings.log.topics.retention
    if retention is None or not site.settings.log.url.startswith("sqlite:"):
        return {}
    kept = {spec.name: retention for spec in site.topic_specs()}
    window = site.settings.log.dedupe_window
    for topic in (site.topics.screened, *(name for name in kept if name.startswith(site.topics.said("")))):
        kept[topic] = max(retention, window)
    for topic in (site.topics.replies, *site.topics.reply_retries()):
        kept[topic] = max(retention, _DAY)
    return kept


def in_force(site: Site) -> dict[str, float | None]:
    """Seconds by topic, whoever enforces them; None or absent for ever. Raises Transient, Fatal."""
    if site.settings.log.url.startswith("sqlite:"):
        return dict(enforced(site))
    return {row.topic: row.retention for row in drift.compare(site)}


class Told(Protocol):
    """Hears how many more records of a topic were dropped."""

    def __call__(self, topic: str, dropped: int, /) -> None: ...


def trim(log: Log, kept: dict[str, float], told: Told, stop: threading.Event) -> None:
    """Drops what is older and passed by all, a little at a time, until there is nothing more or `stop` is set. Raises LogError."""
    for topic, dropped in log.trim(kept):
        told(topic, dropped)
        if stop.wait(_PAUSE):
            return


class Trimmer:
    """A service beside the roles: trims when it starts, and every ten minutes. A fault of the log is a warning, and tried again."""

    def __init__(self, log: Log, kept: dict[str, float], every: float = EVERY) -> None:
        self._log = log
        self._kept = kept
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the step that is under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                trim(self._log, self._kept, self._tell, self._stop)
            except LogError as error:
                _log.warning("retention: %s; tried again in %.0f s", error, self._every)
            self._stop.wait(self._every)

    @staticmethod
    def _tell(topic: str, dropped: int) -> None:
        _log.info("retention: %d records of %s dropped", dropped, topic)
