"""Facts: what is known of a mail, one JSON document that grows a member a stage and changes no other.

Frozen values; encode and decode stand beside the fields. Times are RFC 3339 in UTC with milliseconds, addresses are as compared
(`topology.address`), digests are lower-case hex. What any release wrote stays readable: older versions are upcast step by step
when read, unknown members are kept, and a newer major version raises `streams.faults.Newer` (golden files hold that line). What has its
default is not written, which is a fifth of a document; older ones have it, and say the same.
"""

import re
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self

import orjson

from streams.faults import Newer
from streams.record import Position
from topology.values import quickly_made

VERSION = "1.0"
"""major.minor. A new member with a default is a new minor; a changed meaning is a new major with an upcast step."""

MAX_RECIPIENTS = 100
"""Recipients of a record, and handled addresses of a header (DESIGN.md section 3)."""

FIELD_EVIDENCE = 1024
"""Characters of a header field that evidence keeps."""

_SURROGATE = re.compile("[\ud800-\udfff]")

Status = Literal["handled", "dropped", "rejected", "returned", "failed"]
Strength = Literal["unknown", "weak", "strong"]

REASONS: dict[Status, tuple[str, ...]] = {
    "handled": (),
    "dropped": ("null-sender", "delivery-report", "precedence", "auto-submitted", "robot", "list", "loop"),
    "rejected": ("unknown-sender", "inactive-account", "no-recipient", "from-ambiguous", "malformed"),
    "returned": ("bad-signature", "signature-time", "strong-required", "too-large", "refused"),
    "failed": ("no-handler", "handler-error", "handler-false", "timeout", "gave-up", "crashed", "stage-error", "mail-gone"),
}
"""The closed list of outcomes: each status with its reason codes (DESIGN.md section 2)."""

OWES_AN_ANSWER: frozenset[Status] = frozenset({"returned", "failed"})


def cut(text: str) -> str:
    """Header text as evidence keeps it: at most FIELD_EVIDENCE characters, and no surrogates, which JSON cannot carry."""
    text = text[:FIELD_EVIDENCE]
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def rfc3339(ms: int) -> str:
    """Milliseconds since 1970 UTC as RFC 3339 with milliseconds and Z."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def to_ms(text: str) -> int:
    """The inverse of `rfc3339`; takes any RFC 3339 time. Raises ValueError."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@quickly_made
@dataclass(frozen=True)
class Envelope:
    """The hand-over, written by ingest.

    sender: MAIL FROM, else the topmost Return-Path, as compared; "" the null sender; None absent or unreadable.
    recipients: as the hand-over gave them (their case kept), () when it gave none. via: lmtp, smtp, pipe, import, foreign.
    size and digest are of the mail as received, SHA-256; larger than what is kept when `truncated`.
    archived: the archive's reference when the bytes are there and the record's value is empty.
    """

    mail_id: str
    sender: str | None
    recipients: tuple[str, ...]
    received_at: str
    via: str
    size: int
    digest: str
    message_id: str | None = None
    archived: str | None = None
    truncated: bool = False


@quickly_made
@dataclass(frozen=True)
class Screening:
    """The bounce filter's word. rule: what fired, None for passed. field: the header field that made it fire, cut.
    silence: why no mail of ours may answer this one although it passed (a rule's name), or None.
    recipients: those of the hand-over that are no repeats. subject: for people who look, cut."""

    rule: str | None = None
    field: str | None = None
    silence: str | None = None
    recipients: tuple[str, ...] = ()
    subject: str | None = None
    warnings: tuple[str, ...] = ()


@quickly_made
@dataclass(frozen=True)
class Authentication:
    """Who wrote it. sender: the author as compared. source: "from" or "sender". account: the account's id. method: what made it
    strong (openpgp, dkim, authentication-results). reason: in words, why it is not stronger. dns: the answers that the verdict
    rests on, by name (`topology.answers.Answer.evidence`). openpgp, dkim, results: the evidence, documents of their packages."""

    sender: str | None
    source: str | None
    strength: Strength
    account: str | None = None
    account_name: str | None = None
    account_active: bool | None = None
    account_requires_strong: bool = False
    account_fingerprints: tuple[str, ...] = ()
    method: str | None = None
    reason: str | None = None
    openpgp: dict[str, Any] | None = None
    dkim: tuple[dict[str, Any], ...] = ()
    results: dict[str, Any] | None = None
    dns: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@quickly_made
@dataclass(frozen=True)
class Route:
    """One delivery. recipient: as compared; address: as written. source: "envelope", "header:<name>" or "to-cc".
    captures: the named groups of the handler's pattern, and the numbered ones as "1", "2" …"""

    delivery_id: str
    handler: str
    recipient: str
    address: str
    source: str
    captures: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@quickly_made
@dataclass(frozen=True)
class Outcome:
    """What became of a delivery, or of the whole mail (recipient None). detail: words for people who run the mail, never shown to a
    sender, but for `refused` and `bad-signature`, where it is what the notice says. recipients: in mail.failures, all addresses that
    this one decision was about. oops_id: where one is owed. reply_id: of the mail that we owe or the handler's answer, the join to
    the reply events. fingerprint: of the exception (type and place). attempts: how often the handler was called."""

    status: Status
    reason: str | None
    outcome_id: str
    delivery_id: str
    stage: str
    decided_at: str
    recipient: str | None = None
    recipients: tuple[str, ...] = ()
    detail: str | None = None
    handler: str | None = None
    oops_id: str | None = None
    reply_id: str | None = None
    fingerprint: str | None = None
    attempts: int = 1
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplyEvent:
    """What became of a mail that we owe. status: silent (rule: a rule's name), sent, given-up (rule: why). to: the address
    written to, None where nobody was. kind: oops, notice or answer."""

    reply_id: str
    status: Literal["silent", "sent", "given-up"]
    kind: str
    at: str
    rule: str | None = None
    to: str | None = None
    attempts: int = 1


@dataclass(frozen=True)
class Repeated:
    """A hand-over, or recipients of it, that were here before. first: the raw record that came first."""

    recipients: tuple[str, ...]
    first: dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """What a replay brings in: its generation, the recipients that it is for (as compared; none: all of the mail's), and whether replies
    were asked for. evidence: what authentication is to judge by, see `topology.evidence`; None: it asks afresh. as_of_now: because the mail
    is to be judged as of now, and then keys that have expired or been revoked since count as such."""

    generation: int
    recipients: tuple[str, ...] = ()
    replies: bool = False
    redo: bool = False
    evidence: dict[str, Any] | None = None
    as_of_now: bool = False


@quickly_made
@dataclass(frozen=True)
class Facts:
    """All that is known of a mail so far. raw: where the mail itself stands (set by the first stage). written: the JSON document of
    this value where it is known already; a further member is appended to it, so each is encoded once however often the facts are
    written, and what a newer version put there is kept. grown: what these facts were made from, and with which members, until they are
    written for the first time: a preview never writes any."""

    envelope: Envelope
    raw: Position | None = None
    screening: Screening | None = None
    authentication: Authentication | None = None
    route: Route | None = None
    outcome: Outcome | None = None
    reply: ReplyEvent | None = None
    repeated: Repeated | None = None
    replay: Replay | None = None
    written: bytes | None = field(default=None, compare=False, repr=False)
    grown: tuple[Self, dict[str, Any]] | None = field(default=None, compare=False, repr=False)

    @property
    def generation(self) -> int:
        """0 for the first processing, a replay's number otherwise."""
        return self.replay.generation if self.replay else 0

    def having(self, **members: Any) -> Self:
        """A copy with these members set."""
        made: Self = object.__new__(type(self))
        own = made.__dict__
        own.update(self.__dict__)
        own.update(members)
        own["written"], own["grown"] = None, (self, members)
        return made

    def _written_with(self, members: dict[str, Any]) -> bytes:
        known, there = self.encode(), self.__dict__
        new = {}
        for name, value in members.items():
            if there.get(name) is not None:  # which no stage of the flow sees
                document = orjson.loads(known)
                document.pop(name, None)
                known = orjson.dumps(document)
            if value is not None:
                new[name] = value
        return b"%b,%b" % (known[:-1], orjson.dumps(new, default=_plain)[1:]) if new else known

    @property
    def warnings(self) -> list[str]:
        """The warning codes of every stage, in order, each once."""
        found = [part.warnings for part in (self.screening, self.authentication, self.route, self.outcome) if part and part.warnings]
        return list(dict.fromkeys(code for codes in found for code in codes)) if found else []

    def encode(self) -> bytes:
        """The JSON document as it is stored."""
        own = self.__dict__
        written: bytes | None = own.get("written")
        if written is None:
            grown = own.get("grown")
            if grown:
                before, members = grown
                written = before._written_with(members)
            else:
                known = {name: value for name in _FIELDS if (value := own.get(name)) is not None}
                written = orjson.dumps({"version": VERSION} | known, default=_plain)
            own["written"], own["grown"] = written, None
        return written

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Facts of any version up to ours. Raises Newer for a newer major version, ValueError for what is no facts document."""
        data = bytes(data)  # orjson takes no kind of bytes but bytes, also later, when it reads what is written
        return cls.of(orjson.loads(data), data)

    @classmethod
    def of(cls, document: Any, data: bytes) -> Self:
        """The facts of a document that has been parsed already; its parts become part of them. data: the document itself. Raises as
        `decode` does."""
        if not isinstance(document, dict) or not isinstance(document.get("envelope"), dict):
            raise ValueError("not a facts document: no member 'envelope'")
        version = document.get("version")
        if version != VERSION:
            document = _upcast(document, str(version))
            data = orjson.dumps(document)
        made: Self = object.__new__(cls)
        members: dict[str, Any] = made.__dict__  # what is not in it has the default, as a class attribute
        members["written"] = data
        if raw := document.get("raw"):
            members["raw"] = Position(**raw)
        for name, value in document.items():
            if value is not None and (read := _TYPES.get(name)):
                members[name] = read(value)
        return made


def in_full(document: dict[str, Any]) -> dict[str, Any]:
    """A facts document with those members of its parts, too, that are not written because they have their defaults."""
    return {name: _WHOLE[name] | part if name in _WHOLE and isinstance(part, dict) else part for name, part in document.items()}


_FIELDS = ("envelope", "raw", "screening", "authentication", "route", "outcome", "reply", "repeated", "replay")


def _plain(value: Any) -> Any:
    if isinstance(value, Position):
        log, topic, partition, offset = value
        return {"log": log, "topic": topic, "partition": partition, "offset": offset}
    raise TypeError(f"no fact: {value!r}")


def _reader(kind: type) -> Any:
    """A function that builds a frozen value from its JSON object: lists become tuples, fields of it that we do not know are left
    out (the document as written keeps them). Raises ValueError."""
    known = frozenset(f.name for f in fields(kind))
    required = frozenset(f.name for f in fields(kind) if f.default is MISSING)
    tuples = [f.name for f in fields(kind) if str(f.type).startswith("tuple")]

    def read(value: dict[str, Any]) -> Any:
        if not required <= value.keys() <= known:  # another version's, or none: the defaults of what is missing, or the words for it
            value = {name: part for name, part in value.items() if name in known}
            for name in tuples:
                if name in value:
                    value[name] = tuple(value[name])
            try:
                return kind(**value)
            except TypeError as error:
                raise ValueError(f"not a facts document: {error}") from error
        for name in tuples:
            if name in value:
                value[name] = tuple(value[name])
        made: Any = object.__new__(kind)
        object.__setattr__(made, "__dict__", value)  # six times as fast as the call
        return made

    return read


_KINDS: dict[str, type] = {
    "envelope": Envelope,
    "screening": Screening,
    "authentication": Authentication,
    "route": Route,
    "outcome": Outcome,
    "reply": ReplyEvent,
    "repeated": Repeated,
    "replay": Replay,
}
_TYPES = {name: _reader(kind) for name, kind in _KINDS.items()}


def _defaults(kind: type) -> dict[str, Any]:
    """What its fields are where nothing is said, in their order; None where something always is."""
    made: dict[str, Any] = {}
    for one in fields(kind):
        made[one.name] = one.default if one.default is not MISSING else None if one.default_factory is MISSING else one.default_factory()
    return made


_WHOLE = {name: _defaults(kind) for name, kind in _KINDS.items()}


def _upcast(document: dict[str, Any], version: str) -> dict[str, Any]:
    """The document in our version. A newer minor is read as it is: what we do not know of it is kept."""
    major = version.partition(".")[0]
    if not major.isdigit():
        raise ValueError(f"not a facts document: version {version!r}")
    if int(major) > int(VERSION.partition(".")[0]):
        raise Newer(f"facts of version {version}; this program reads up to {VERSION}: upgrade postroom on this machine before it goes on")
    return document
