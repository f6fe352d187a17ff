"""OOPS reports, made with Canonical's `oops` and kept in a datedir repository, which their tools read and prune: a folder a day,
a BSON file a report. This is the one module that knows those libraries.

Our files are named by the id that the sender was told, so that it finds the report without an index. A report names the mail and
quotes none of it: what an exception says of itself is cut short, and variables are not looked at.
"""

import logging
import re
from pathlib import Path
from traceback import format_tb
from typing import Any

import oops
from oops_datedir_repo import DateDirRepo, serializer

from handlers.fingerprint import in_words, plain
from streams.disk import sync

_log = logging.getLogger(__name__)

_ID = re.compile(r"OOPS-[0-9a-f]{32}\Z")
_TEXT = 64 * 1024
"""Characters of a traceback or a detail that a report keeps."""
_FRAMES = 40
"""Innermost frames of an exception; what runs away has thousands."""
_CAUSES = 5
"""Exceptions behind the exception."""


class OopsReports:
    """See `topology.oopsing.Oopses`. path: the repository's folder, made when the first report is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._days: set[Path] = set()
        self._repository = DateDirRepo(str(path), inherit_id=True, stash_path=True)
        self._config = oops.Config()
        self._config.template = {"reporter": "postroom"}
        self._config.publisher = self._publish

    def record(
        self,
        oops_id: str,
        *,
        mail_id: str,
        delivery_id: str,
        where: str,
        error: BaseException | None = None,
        detail: str = "",
        traceback: str | None = None,
    ) -> None:
        """See the port."""
        try:
            report = self._config.create({"topic": where})
            report |= {"id": oops_id, "mail_id": mail_id, "delivery_id": delivery_id, "detail": plain(detail, _TEXT)}
            report |= {"type": type(error).__name__ if error else None, "value": in_words(error) if error else None}
            report["tb_text"] = plain(traceback or (_told(error) if error else ""), _TEXT)
            self._config.publish(report)
        except OSError as fault:  # a full disk, or a folder that is none: nothing is wrong with the program
            why = fault.strerror or fault
            _log.error("oops.path: %s of mail %s could not be written to %s: %s", oops_id, mail_id, self._path, why)
        except Exception:  # noqa: BLE001 - the outcome counts more than its report, so whatever is wrong here ends here
            _log.exception("oops.path: %s of mail %s could not be written to %s", oops_id, mail_id, self._path)

    def read(self, oops_id: str) -> dict[str, Any] | None:
        """The report with that id (type, value, tb_text, time, topic, mail_id, delivery_id, detail, hostname …), or None where there
        is none. Raises ValueError, naming the file, when it is damaged."""
        files = self._files(oops_id)
        if not files:
            return None
        try:
            with files[-1].open("rb") as file:
                report: dict[str, Any] = serializer.read(file)
        except Exception as error:
            raise ValueError(f"{files[-1]}: no readable OOPS report: {error}") from error
        return report

    def has(self, oops_id: str) -> bool:
        """Whether there is a report with that id."""
        return bool(self._files(oops_id))

    def forget(self, oops_id: str) -> bool:
        """Takes the report with that id away. Returns whether there was one."""
        files = self._files(oops_id)
        for file in files:
            file.unlink(missing_ok=True)
        return bool(files)

    def _files(self, oops_id: str) -> list[Path]:
        # The id may come from a command line or a URL, so nothing else may become part of a path.
        return sorted(self._path.glob(f"????-??-??/{oops_id}")) if _ID.match(oops_id) else []

    def _publish(self, report: dict[str, Any]) -> list[str]:
        """Writes the report as the repository does, by its hash, then gives the durable file its id as name."""
        before = self._files(report["id"])
        self._repository.publish(report)
        written = Path(report.pop("datedir_repo_filepath"))
        named = written.with_name(report["id"])
        sync(written)
        written.replace(named)
        sync(named.parent)
        if named.parent not in self._days:  # whose own name is durable once and for all
            sync(self._path)
            self._days.add(named.parent)
        for file in before:
            if file != named:  # recorded again on another day
                file.unlink(missing_ok=True)
        return [report["id"]]


def _told(error: BaseException) -> str:
    """The exception and those behind it, oldest first, as Python prints them, but each message cut short."""
    chain: list[str] = []
    one: BaseException | None = error
    while one is not None and len(chain) < _CAUSES:
        chain.append("Traceback (most recent call last):\n" + "".join(format_tb(one.__traceback__, limit=-_FRAMES)) + in_words(one) + "\n")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\nThen:\n\n".join(reversed(chain))
