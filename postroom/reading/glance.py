"""Single members of a facts document, taken from its bytes: a fifth of the price of parsing it.

A pattern here begins with `,"` at the top level of the document. No text of a mail can counterfeit that: within a JSON string a
quotation mark has a backslash before it. Where a pattern does not fit (a release that writes its members in another order), the
document is parsed.
"""

import re
from typing import Any, NamedTuple

import orjson

from streams.record import Position, Record
from topology.facts import VERSION, Facts
from topology.records import FACTS

OUTCOME = b"postroom.outcome"
"""ce_type of an outcome on mail.outcomes."""
REPLY = b"postroom.reply"
"""ce_type of a reply event there (and of a mail of ours on mail.replies)."""
ERASED = b"postroom.erased"
"""ce_type of a tombstone there: the mail was erased. See `postroom.erasing.tombstone`."""

_OURS = f'{{"version":"{VERSION.partition(".")[0]}.'.encode()
RAW = re.compile(rb',"raw":\{"log":"([^"\\]*)","topic":"([^"\\]*)","partition":(\d{1,9}),"offset":(\d{1,18})\}')
"""The position of the raw record: log id, topic, partition, offset."""
_REPLAY = b'"replay":{'
_GENERATION = re.compile(rb',"replay":\{"generation":(\d{1,18})[,}]')
_ROUTE = re.compile(rb',"route":\{"delivery_id":"([0-9a-f]{32})"')
_OUTCOME = re.compile(
    rb',"outcome":\{"status":"[a-z]+","reason":(?:null|"[a-z-]+"),"outcome_id":"[0-9a-f]+","delivery_id":"([0-9a-f]{32})","stage":"([^"\\]*)"'
    rb',"decided_at":"[^"\\]*"(,"recipient":")?'
)


class Ending(NamedTuple):
    """What an outcome is of. stage: who decided it. whole: it is of the whole mail."""

    delivery_id: str
    stage: str
    whole: bool


def facts_bytes(record: Record) -> bytes | None:
    """The facts document of a record of ours, from its header or its value; None for a bare record of another program."""
    header = record.header(FACTS)
    if header is not None:
        return header
    return record.value if record.value.startswith(b"{") and record.header("ce_type") else None


def document(data: bytes) -> dict[str, Any]:
    """The facts document, upcast where it is older. Raises Newer, and ValueError for what is none."""
    parsed: dict[str, Any] = orjson.loads(data) if data.startswith(_OURS) else orjson.loads(Facts.decode(data).encode())
    return parsed


def facts(parsed: dict[str, Any], data: bytes) -> Facts:
    """The facts of a document that `document` gave of these bytes. Raises as `Facts.decode`."""
    return Facts.of(parsed, data) if data.startswith(_OURS) else Facts.decode(data)


def raw_position(data: bytes) -> Position | None:
    """Where the mail itself stands; None where the facts do not say."""
    if found := RAW.search(data):
        return Position(found[1].decode(), found[2].decode(), int(found[3]), int(found[4]))
    raw = document(data).get("raw") if b'"raw":' in data else None
    return Position(**raw) if raw else None


def generation(data: bytes) -> int:
    """0 for the first processing, a replay's number otherwise."""
    if _REPLAY not in data:
        return 0
    found = _GENERATION.search(data)
    return int(found[1]) if found else int((document(data).get("replay") or {}).get("generation", 0))


def routed_delivery(data: bytes) -> str | None:
    """The delivery id of a routed record's facts."""
    if found := _ROUTE.search(data):
        return found[1].decode()
    route = document(data).get("route")
    return route["delivery_id"] if route else None


def outcome_of(data: bytes) -> Ending | None:
    """What an outcome is of; None where there is none."""
    if found := _OUTCOME.search(data):
        return Ending(found[1].decode(), found[2].decode(), found[3] is None)
    outcome = document(data).get("outcome") if b'"outcome":' in data else None
    return Ending(outcome["delivery_id"], outcome["stage"], outcome.get("recipient") is None) if outcome else None
