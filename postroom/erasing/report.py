"""What an erase did, or would do, for people and for tools; and what remains, and until when."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from postroom.erasing.erase import Tally
from postroom.erasing.sweep import Found
from postroom.reading.out import Out
from topology.facts import rfc3339


class Remains(NamedTuple):
    """What stays on a topic. what: `mail` (the bytes, or a message of ours about it), `reply` (a message of ours that is still to be
    written or sent), `facts`. until: when the last of it goes by retention, RFC 3339; None for never."""

    topic: str
    what: Literal["mail", "reply", "facts"]
    records: int
    octets: int
    until: str | None


def remains(tally: Tally, raw_topic: str, retention: Mapping[str, float | None], *, revisable: bool) -> Iterator[Remains]:
    """What remains on the log once the erase is done. retention: seconds by topic, None or absent for ever. revisable: of the log."""
    found: dict[str, Found] = {raw_topic: tally.raw} | {span.topic: one for span, one in tally.topics.items()}
    for topic, one in found.items():
        seconds = retention.get(topic)
        until = None if seconds is None or not one.newest else rfc3339(one.newest + round(seconds * 1000))
        if one.octets and not revisable:
            yield Remains(topic, "mail", one.content, one.octets, until)
        if one.waiting:
            yield Remains(topic, "reply", one.waiting, 0, until)
        if one.facts and not (revisable and topic == raw_topic):
            yield Remains(topic, "facts", one.facts, 0, until)


def erase_document(tally: Tally, left: list[Remains], *, applied: bool, revisable: bool) -> dict[str, Any]:
    """The answer of `erase --json`."""
    counts = {name: getattr(tally, name) for name in ("mails", "deliveries", "octets")}
    why_not = {"already_erased": tally.already, "on_its_way": tally.on_its_way, "waiting": tally.waiting}
    log = {
        "records": tally.raw.content + sum(one.content for one in tally.topics.values()),
        "octets": tally.raw.octets + sum(one.octets for one in tally.topics.values()),
    }
    erased: dict[str, Any] = {
        "log": log if revisable else {"records": 0, "octets": 0},
        "archive": {"objects": tally.released, "shared": tally.shared},
        "oopses": tally.oopses,
    }
    return (
        {"applied": applied} | counts | why_not | {"erased": erased, "scrubbed": tally.scrubbed, "remains": [one._asdict() for one in left]}
    )


_LEFT = {
    "on_its_way": "mails left out: something of them still waits for a stage; run this again when it is through",
    "waiting": "records left as they are: a reply is still to be made of them; run this again when it is written",
    "already_erased": "mails were erased before; what was left of them is gone through again",
}


def show_erase(document: dict[str, Any], out: Out, *, revisable: bool) -> None:
    """The same for people."""
    applied, erased = document["applied"], document["erased"]
    word = "erased" if applied else "to be erased"
    out.line((f"{document['mails']:,} mails with {document['deliveries']:,} deliveries, {document['octets']:,} octets, {word}", "bold"))
    for name, words in _LEFT.items():
        if document[name]:
            out.line((f"{document[name]:>9,}  {words}", "yellow"))
    if erased["log"]["records"]:
        out.line((f"{erased['log']['records']:>9,}  records of the log lose {erased['log']['octets']:,} octets and what they quote", ""))
    if erased["archive"]["objects"]:
        out.line((f"{erased['archive']['objects']:>9,}  objects of the archive", ""))
    if erased["archive"]["shared"]:
        out.line((f"{erased['archive']['shared']:>9,}  objects of the archive stay, as other mails have the same bytes", ""))
    if erased["oopses"]:
        out.line((f"{erased['oopses']:>9,}  OOPS reports", ""))
    if document["remains"]:
        out.line()
        out.line(("what remains on the log" if applied else "what would remain on the log", "bold"))
    for one in document["remains"]:
        until = f"until {one['until'][:10]}" if one["until"] else "for ever"
        out.line((f"{one['records']:>9,}  {one['topic']:<28} {_what(one, revisable=revisable)}, ", ""), (until, "dim"))
    if document["scrubbed"] is False:
        out.line(("the write-ahead log still has old pages, as somebody was reading: run this again", "yellow"))
    if not applied and document["mails"]:
        out.line()
        out.line(("nothing was changed; --apply erases", "dim"))


def _what(one: dict[str, Any], *, revisable: bool) -> str:
    if one["what"] == "mail":
        return f"the mail itself or a message about it, {one['octets']:,} octets, which Kafka cannot take out of a topic"
    if one["what"] == "reply":
        return "messages of ours that are still to be written or sent"
    return "ids, addresses, times and verdicts" if revisable else "facts: ids, addresses, times, verdicts, the subject and quoted fields"
