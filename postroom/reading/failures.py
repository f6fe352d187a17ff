"""Failures by their cause: what failed in the same way, counted."""

from collections.abc import Iterable
from typing import Any, TypedDict

from postroom.reading.rows import Found


class Group(TypedDict):
    """Failed outcomes of one cause. fingerprint: the exception's type and place, None where nothing was raised. first_seen and
    last_seen: when they were decided. mail_id, oops_id and detail: of the last one, as an example."""

    reason: str
    fingerprint: str | None
    handler: str | None
    count: int
    first_seen: str
    last_seen: str
    mail_id: str
    oops_id: str | None
    detail: str | None


def grouped(found: Iterable[Found]) -> list[Group]:
    """The failed ones among these outcomes, by fingerprint, reason and handler; the most frequent first."""
    groups: dict[tuple[Any, ...], Group] = {}
    for one in found:
        row, outcome = one.row, one.document["outcome"]
        if row["status"] != "failed":
            continue
        cause = (outcome.get("fingerprint"), row["reason"], row["handler"])
        at = str(row["decided_at"])
        before = groups.get(cause)
        groups[cause] = {
            "reason": outcome["reason"],
            "fingerprint": outcome.get("fingerprint"),
            "handler": row["handler"],
            "count": before["count"] + 1 if before else 1,
            "first_seen": min(before["first_seen"], at) if before else at,
            "last_seen": max(before["last_seen"], at) if before else at,
            "mail_id": str(row["mail_id"]),
            "oops_id": row["oops_id"],
            "detail": row["detail"],
        }
    return sorted(groups.values(), key=lambda group: (-group["count"], group["first_seen"]))
