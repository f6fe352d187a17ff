"""A record of the old log as a record of the new one: its topic, its partition, and every reference that it makes.

What refers to a place: `raw` and `repeated.first` in the facts, `pr_original` (the mail that a reply is about), `pr_origin` (a waiting
delivery's offset in its handler's topic), `mail` in a handler's word, and the CloudEvents ids that are made of a mail's place. All
else stays as it is, byte for byte.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson

from postroom.copying.places import Places
from postroom.copying.plan import TopicPlan
from postroom.reading import glance
from streams.record import Draft, Headers, Position, Record, TopicPartition, murmur2_partition
from streams.retries import ORIGIN
from topology.records import FACTS, Topics

_ORIGINAL = "pr_original"
_RAW = b"postroom.raw"
_SAID = b"postroom.said"
_OURS = b'{"version":"1.'
_REPEATED = b',"repeated":{'
_OFFSET = re.compile(rb"\d{1,18}")
_ORIGINALS = re.compile(rb"([^/]*)/(.*)/(\d{1,9})/(\d{1,18})", re.DOTALL)
_PLACE_ID = re.compile(rb"(\d{1,9})-(\d{1,18})(\..*)", re.DOTALL)


class Translation:
    """Translates the records of one log. plans: by topic of the source. hole: makes a place in the new mail.raw for a mail that is no
    longer in the old one."""

    def __init__(
        self,
        old: tuple[str, Topics],
        new: tuple[str, Topics],
        plans: dict[str, TopicPlan],
        places: Places,
        hole: Callable[[TopicPartition], int],
    ) -> None:
        self._old_id, self._old = old
        self._new_id, self._new = new
        self._plans = plans
        self._places = places
        self._hole = hole
        self._beside = {old[1].screened, old[1].authenticated}
        self._homes = {name: self._home(name) for name in plans}

    def draft(self, record: Record) -> Draft:
        """The record to be written. Raises Newer for facts that this program cannot read."""
        plan = self._plans[record.topic]
        kind = record.header("ce_type")
        value, moved = record.value, None
        if record.header(FACTS) is None and value.startswith(b"{") and kind and record.topic != self._old.replays:
            value, moved = self._facts(value)
        elif kind == _SAID:
            value = self._word(value)
        headers = self._headers(record, moved)
        unique = record.header("ce_id") if kind == _RAW and record.topic == self._old.raw else None
        partition = record.partition if plan.same else self._partition(plan, record, moved)
        return Draft(plan.target, record.key, value, headers, partition, record.carried, _digest(record), unique)

    def gone(self, partition: int, offset: int) -> tuple[int, int]:
        """A place in the new mail.raw for a mail of the old one that retention or erasure took: where it tells the same of it."""
        plan = self._plans[self._old.raw]
        number = partition if plan.same else partition % plan.partitions
        if offset < plan.extents[partition].first:
            return number, 0
        place = self._hole(TopicPartition(plan.target, number))
        self._places.note(self._old.raw, [(partition, offset, number, place)])
        return number, place

    # -- where it goes ------------------------------------------------------------------------------------------------------------

    def _partition(self, plan: TopicPlan, record: Record, moved: tuple[Position, Position] | None) -> int:
        """By key, as its writer chose it; what follows another record goes where that went."""
        if record.topic in self._beside:
            return moved[1].partition if moved else record.partition % plan.partitions
        home, origin = self._homes[record.topic], record.header(ORIGIN)
        if home and origin and _OFFSET.fullmatch(origin) and (found := self._places.find(home, record.partition, int(origin))):
            return found[0]
        return record.partition % plan.partitions if record.key is None else murmur2_partition(record.key, plan.partitions)

    def _home(self, topic: str) -> str | None:
        """The topic that a retry topic's records come from."""
        if topic in self._old.reply_retries():
            return self._old.replies
        before = f"{self._old.prefix}.retry."
        return self._old.routed(topic.removeprefix(before).rpartition(".")[0]) if topic.startswith(before) else None

    # -- what it says -------------------------------------------------------------------------------------------------------------

    def _headers(self, record: Record, moved: tuple[Position, Position] | None) -> Headers:
        headers: list[tuple[str, bytes]] = []
        for name, value in record.headers:
            changed = value
            if name == FACTS:
                changed, moved = self._facts(value)
            elif name == "ce_source" and value == self._old.source:
                changed = self._new.source
            elif name == _ORIGINAL:
                changed = self._original(value)
            elif name == ORIGIN:
                changed = self._origin(record, value)
            headers.append((name, changed))
        if moved:
            headers = [(name, _renamed(value, moved) if name == "ce_id" else value) for name, value in headers]
        return tuple(headers)

    def _facts(self, data: bytes) -> tuple[bytes, tuple[Position, Position] | None]:
        """The facts with the mail's new place, and its old and new one. What is no facts document, or of another log, stays as it is."""
        found = glance.RAW.search(data)
        if found is None or _REPEATED in data or not data.startswith(_OURS):
            return self._parsed(data)
        old = Position(found[1].decode(), found[2].decode(), int(found[3]), int(found[4]))
        new = self._mail(old)
        if new is None:
            return data, None
        member = b',"raw":' + orjson.dumps(new._asdict())
        return data[: found.start()] + member + data[found.end() :], (old, new)

    def _parsed(self, data: bytes) -> tuple[bytes, tuple[Position, Position] | None]:
        try:
            document = glance.document(data)
        except (ValueError, KeyError, TypeError):
            return data, None
        moved = None
        if (old := _position(document.get("raw"))) and (new := self._mail(old)):
            document["raw"], moved = new._asdict(), (old, new)
        repeated = document.get("repeated")
        if isinstance(repeated, dict) and (old := _position(repeated.get("first"))) and (new := self._mail(old)):
            repeated["first"] = new._asdict()
        return orjson.dumps(document), moved

    def _mail(self, old: Position) -> Position | None:
        """The new place of a mail; None for one that never was in this log."""
        raw = self._plans.get(self._old.raw)
        if raw is None or old.log != self._old_id or old.topic != raw.source or not 0 <= old.partition < len(raw.extents):
            return None
        if not 0 <= old.offset < raw.extents[old.partition].end:
            return None
        place = self._places.find(old.topic, old.partition, old.offset) or self.gone(old.partition, old.offset)
        return Position(self._new_id, raw.target, *place)

    def _original(self, value: bytes) -> bytes:
        found = _ORIGINALS.fullmatch(value)
        if found is None:
            return value
        log, topic, partition, offset = (part.decode("utf-8", "replace") for part in found.groups())
        new = self._mail(Position(log, topic, int(partition), int(offset)))
        return f"{new.log}/{new.topic}/{new.partition}/{new.offset}".encode() if new else value

    def _origin(self, record: Record, value: bytes) -> bytes:
        home = self._homes[record.topic]
        if home is None or not _OFFSET.fullmatch(value):
            return value
        found = self._places.find(home, record.partition, int(value))
        if found:
            return b"%d" % found[1]
        # Retention took it, so it is older than all that is there: a number below 0 says so, and keeps its order.
        return b"%d" % (int(value) - self._plans[home].extents[record.partition].first) if home in self._plans else value

    def _word(self, value: bytes) -> bytes:
        """A handler's word, with the new place of the record that it was given."""
        try:
            document = orjson.loads(value)
            old = _position(document["mail"])
        except (ValueError, KeyError, TypeError):
            return value
        plan = self._plans.get(old.topic) if old and old.log == self._old_id else None
        found = self._places.find(old.topic, old.partition, old.offset) if old and plan else None
        if plan is None or found is None:
            return value
        document["mail"] = Position(self._new_id, plan.target, *found)._asdict()
        return orjson.dumps(document)


def _digest(record: Record) -> bytes | None:
    """The record's digest where it is one: on Kafka a foreign producer can claim any, and an engine that stores contents once would take
    another mail for this one."""
    return record.digest if record.digest is not None and sha256(record.value).digest() == record.digest else None


def _position(value: Any) -> Position | None:
    """The position that a document names; None for what is none."""
    try:
        found = Position(**value)
    except TypeError:
        return None
    return found if [type(part) for part in found] == [str, str, int, int] else None


def _renamed(id_: bytes, moved: tuple[Position, Position]) -> bytes:
    """An id that begins with its mail's place."""
    old, new = moved
    found = _PLACE_ID.fullmatch(id_)
    if found is None or (int(found[1]), int(found[2])) != (old.partition, old.offset):
        return id_
    return b"%d-%d%s" % (new.partition, new.offset, found[3])
