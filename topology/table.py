"""The topology, declared once: what reads which topic, and what it writes. Reads from top to bottom.

`{raw}` and the like are the names of `topology.records.Topics`; `{name}` is a handler's. The roles of `postroom.roles` are held
against this table by a test, and `postroom topology` prints and draws it.
"""

from typing import NamedTuple

from topology.records import Topics


class Row(NamedTuple):
    """One stage. role: as `postroom run` names it, and as in its group's name. sources, targets: topics. ends: the outcomes and
    events that it writes to mail.outcomes."""

    role: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    ends: str
    words: str


TABLE = (
    # What everybody passes; one worker runs the three together (the chain).
    Row("bounce-filter", ("raw",), ("screened",), "dropped, rejected, failed; repeated", "sets repeats and robots aside"),
    Row("authentication", ("screened",), ("authenticated",), "rejected, returned, failed", "who wrote it, and how sure we are"),
    Row("routing", ("authenticated",), ("routed.<name>",), "rejected, returned, failed", "one delivery an address"),
    # What acts on a delivery; a consumer group a handler.
    Row(
        "handler:<name>", ("routed.<name>", "retry.<name>.1-3"), ("answers", "retry.<name>.1-3"), "handled, returned, failed", "acts on it"
    ),
    Row(
        "settle:<name>", ("said.<name>",), ("answers", "retry.<name>.1-3"), "handled, returned, failed", "writes what a Faust handler said"
    ),
    # What we write back. A returned or failed outcome goes to failures, with the mail, in the same transaction.
    Row("replyer", ("failures", "answers"), ("replies",), "reply: silent", "writes the notice or OOPS mail, or keeps silent"),
    Row("postman", ("replies", "replies.retry.1-3"), ("replies.retry.1-3",), "reply: sent, silent, given-up", "sends it"),
)

ON_FAUST = Row("handler:<name>", ("routed.<name>", "retry.<name>.1-3"), ("said.<name>",), "", "acts on it, and tells its word")
"""A handler whose runtime is Faust, in place of the row above; `settle` then writes what that one would."""


def rows(topics: Topics, handlers: tuple[str, ...] = ("<name>",), faust: frozenset[str] = frozenset()) -> list[Row]:
    """The table with full topic names, a row for each handler. faust: those whose runtime that is."""
    found: list[Row] = []
    for row in TABLE:
        if row.role == "settle:<name>":
            names: tuple[str, ...] = tuple(name for name in handlers if name in faust or name == "<name>")
        else:
            names = handlers if row.role.endswith("<name>") else ("",)
        found += [_named(ON_FAUST if row.role == ON_FAUST.role and name in faust else row, topics, name) for name in names]
    return found


def _named(row: Row, topics: Topics, name: str) -> Row:
    return row._replace(
        role=row.role.replace("<name>", name),
        sources=tuple(_full(topics, source, name) for source in row.sources),
        targets=tuple(_full(topics, target, name) for target in row.targets),
    )


def _full(topics: Topics, topic: str, name: str) -> str:
    return f"{topics.prefix}.{topic.replace('<name>', name) if name else topic}"
