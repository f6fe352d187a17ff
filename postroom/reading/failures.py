"""Failures by their cause: what failed in the same way, counted, and what of it replays have settled since."""

from collections.abc import Container, Iterable
from typing import Any, TypedDict

from postroom.reading.outcomes import Generations
from postroom.reading.rows import Found
from streams.record import Position


class Group(TypedDict):
    """Failed outcomes of one cause. fingerprint: the exception's type and place, None where nothing was raised. count: those that stand;
    resolved: those that a replay has brought to another end than a failure since, and replays: which ones. first_seen and last_seen:
    when those that stand were decided. mail_id, oops_id and detail: of the last of them, as an example. Where none stands, all
    five are of resolved ones."""

    reason: str
    fingerprint: str | None
    handler: str | None
    count: int
    resolved: int
    replays: list[int]
    first_seen: str
    last_seen: str
    mail_id: str
    oops_id: str | None
    detail: str | None


def grouped(found: Iterable[Found], generations: Generations, erased: Container[Position]) -> list[Group]:
    """The failed ones among outcomes of all generations, by fingerprint, reason and handler; the most frequent first. generations: which
    of them were replaced. What failed again counts where it failed last. erased: raw records of erased mails, whose failures do not
    stand, for nothing can settle them any more."""
    groups: dict[tuple[Any, ...], Group] = {}
    for one in found:
        row, outcome = one.row, one.document["outcome"]
        after = generations.replaced_by(one.document) if row["status"] == "failed" else None
        if row["status"] != "failed" or (after and after[1] == "failed"):
            continue
        if after is None and (raw := one.document.get("raw")) and Position(**raw) in erased:
            continue
        cause = (outcome.get("fingerprint"), row["reason"], row["handler"])
        at = str(row["decided_at"])
        group = groups.setdefault(
            cause,
            {
                "reason": outcome["reason"],
                "fingerprint": outcome.get("fingerprint"),
                "handler": row["handler"],
                "count": 0,
                "resolved": 0,
                "replays": [],
                "first_seen": at,
                "last_seen": at,
                "mail_id": "",
                "oops_id": None,
                "detail": None,
            },
        )
        if after is None:
            if not group["count"]:  # so far it told of resolved ones
                group["first_seen"] = group["last_seen"] = at
            group["count"] += 1
        else:
            group["resolved"] += 1
            group["replays"] = sorted({*group["replays"], after[0]})
            if group["count"]:
                continue
        group["first_seen"], group["last_seen"] = min(group["first_seen"], at), max(group["last_seen"], at)
        group["mail_id"], group["oops_id"], group["detail"] = str(row["mail_id"]), row["oops_id"], row["detail"]
    return sorted(groups.values(), key=lambda group: (-group["count"], -group["resolved"], group["first_seen"]))
