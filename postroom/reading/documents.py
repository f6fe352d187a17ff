"""What `show --json`, `show --raw` and `oops` give of a mail."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from postroom.reading.gathering import Mail
from postroom.reading.render import Part
from topology.facts import in_full, rfc3339
from topology.ports import Archive


class Gone(Exception):
    """The mail itself cannot be had any more."""


def as_document(mail: Mail) -> dict[str, Any]:
    """A mail as `show --json` gives it. facts: one document a delivery, in its latest generation; pending ones have no outcome.
    records: every record of it; type: its CloudEvents type, None for bare bytes of another program."""
    records = [
        {
            "topic": entry.record.topic,
            "partition": entry.record.partition,
            "offset": entry.record.offset,
            "time": rfc3339(entry.record.time),
            "type": kind.decode("ascii", "replace") if (kind := entry.record.header("ce_type")) else None,
            "key": entry.record.key.decode("utf-8", "replace") if entry.record.key is not None else None,
        }
        for entry in mail.entries
    ]
    return {"mail_id": mail.mail_id, "warnings": mail.warnings, "facts": [in_full(facts) for facts in mail.current], "records": records}


def bytes_of(mail: Mail, archive: Archive) -> bytes:
    """The mail as received; its first 64 KiB where it was too large. Raises Gone, also where it was erased and the engine could not let
    go of its bytes, and Hold when the archive is away."""
    if mail.erased and mail.raw is None:
        raise Gone(f"mail {mail.mail_id} was {mail.erased}")
    reference = mail.envelope.get("archived")
    if reference:
        kept = archive.get(reference)
        if kept is None:
            raise Gone(f"mail {mail.mail_id} is gone: the archive no longer has {reference}")
        return kept
    if mail.raw is None:
        raise Gone(f"mail {mail.mail_id} is gone: it was erased, or is older than what the log keeps")
    return mail.raw.value


def oops_id_of(text: str) -> str:
    """An OOPS id as we write it, with or without `OOPS-`, whatever the case."""
    return "OOPS-" + text.strip().lower().removeprefix("oops-")


def report_document(report: dict[str, Any] | None) -> dict[str, Any] | None:
    """An error report for tools: its time as every other time is."""
    if report is None or not isinstance(report.get("time"), datetime):
        return report
    return report | {"time": rfc3339(round(report["time"].timestamp() * 1000))}


def report_parts(report: dict[str, Any] | None) -> Iterator[list[Part]]:
    """An error report as lines."""
    if report is None:
        yield [("the report itself is not in the repository any more", "dim")]
        return
    yield [(str(report.get("id")), "bold red")]
    for name in ("time", "topic", "type", "value", "detail", "mail_id", "delivery_id"):
        if report.get(name):
            yield [(f"  {name:<12}", "dim"), (str(report[name]), "")]
    traceback = str(report.get("tb_text") or "")
    if traceback:
        yield []
        yield from ([("  " + line, "")] for line in traceback.splitlines())
        yield []
