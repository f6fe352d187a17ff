"""What a handler on Faust said in one try of a delivery, as a record of mail.said.<name>: JSON of the word, and the facts in their header.

Faust is at least once, so the same try may be told several times; `handlers.settle` takes the first. The CloudEvents id names the try,
so that repeats are known without reading the JSON.
"""

from dataclasses import dataclass
from traceback import TracebackException
from typing import Any, Literal, Self, cast

import orjson

from handlers.fingerprint import in_words, plain
from handlers.word import Said
from streams.faults import Newer
from streams.record import Draft, Position, Record
from streams.retries import attempts
from streams.stage import Again, Failure
from topology.facts import Facts, rfc3339
from topology.records import FACTS, Topics

SAID_VERSION = 1
TRACEBACK = 64 * 1024
"""Characters of a traceback that go along: the last ones, where the error itself stands."""
_FRAMES = 40
"""Innermost frames of an exception; what runs away has thousands."""


@dataclass(frozen=True, slots=True)
class Telling:
    """word: the handler's, or the failure round it. attempt: which try of the delivery, from 1. at: when it was said, RFC 3339. mail:
    the record that the handler was given, of mail.routed.<name> or its retries. traceback: of the error behind a failure."""

    word: Said | Again | Failure
    attempt: int
    at: str
    mail: Position
    traceback: str | None = None

    def encode(self) -> bytes:
        """As JSON."""
        kind, fields = _fields(self.word)
        return orjson.dumps(
            {
                "version": SAID_VERSION,
                "attempt": self.attempt,
                "at": self.at,
                "mail": self.mail._asdict(),
                "kind": kind,
                "word": fields,
                "traceback": self.traceback and plain(self.traceback[-TRACEBACK:], TRACEBACK),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`, but for the exceptions. Raises Newer, and ValueError, KeyError or TypeError for what is none."""
        document: dict[str, Any] = orjson.loads(data)
        if document["version"] > SAID_VERSION:
            raise Newer(f"a word on mail.said of version {document['version']}; this program reads {SAID_VERSION}: upgrade postroom here")
        word = _word(document["kind"], document["word"], document["attempt"])
        return cls(word, document["attempt"], document["at"], Position(**document["mail"]), document["traceback"])


def _fields(word: Said | Again | Failure) -> tuple[str, object]:
    if isinstance(word, Said):
        return "said", orjson.Fragment(word.encode())
    if isinstance(word, Again):
        return "again", {"why": word.why, "after": word.after, "timeout": word.timeout}
    return "failure", {"kind": word.kind, "detail": word.detail or (in_words(word.error) if word.error else "")}


def _word(kind: str, fields: dict[str, Any], attempt: int) -> Said | Again | Failure:
    match kind:
        case "said":
            return Said.decode(orjson.dumps(fields))
        case "again":
            return Again(fields["why"], fields["after"], fields["timeout"])
        case "failure":
            reason = cast(Literal["error", "crashed"], fields["kind"])
            return Failure(reason, attempts=attempt, detail=fields["detail"])
    raise ValueError(f"{kind!r} is no kind of word")


def telling(word: Said | Again | Failure, record: Record, log_id: str, now_ms: int) -> Telling:
    """What is told of a try that just ended. record: what the handler was given; log_id: of its log."""
    error = None if isinstance(word, Again) else word.error
    traceback = "".join(TracebackException.from_exception(error, limit=-_FRAMES).format()) if error else None
    return Telling(word, attempts(record) + 1, rfc3339(now_ms), Position(log_id, record.topic, record.partition, record.offset), traceback)


def said_draft(topics: Topics, handler: str, record: Record, facts: Facts | None, telling: Telling) -> Draft:
    """The record of mail.said.<handler>, in the partition of the delivery's record, so that all tellings of a try stand in one. facts:
    None where they cannot be read; settling then makes what it can of the mail."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", _id(record, facts, telling.attempt).encode()),
        ("ce_type", b"postroom.said"),
        ("ce_source", topics.source),
        ("content-type", b"application/json"),
    ]
    if facts is not None:
        headers.append((FACTS, facts.encode()))
    return Draft(topics.said(handler), record.key, telling.encode(), tuple(headers), record.partition)


def _id(record: Record, facts: Facts | None, attempt: int) -> str:
    if facts is None or facts.route is None:
        return f"{record.topic}.{record.partition}.{record.offset}.said"
    return f"{facts.route.delivery_id}.{facts.generation}.{attempt}.said"


def id_of(record: Record) -> bytes:
    """Which try a record of mail.said tells of; what another program put there stands for itself."""
    return record.header("ce_id") or b"%d.%d" % (record.partition, record.offset)
