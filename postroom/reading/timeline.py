"""A mail's records as a story: when and how it came, what each stage decided and by what, and what its sender heard."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from postroom.erasing.tombstone import Erased
from postroom.reading.evidence import authentication_parts, evidence_lines
from postroom.reading.gathering import Entry, Mail
from postroom.reading.render import STYLES, SYMBOLS, Part
from streams.retries import ATTEMPT
from topology.facts import rfc3339, to_ms

_HAND_OVERS = ("raw", "foreign")
_FAR_APART = 1000
"""Milliseconds between the receive time and the log's own from which both are shown."""


@dataclass(slots=True)
class Line:
    """One thing that happened. when: a time, or how long after the mail was taken in. notes: what it rests on. The texts are as the
    mail has them; `draw` makes them safe."""

    when: str
    label: str
    parts: list[Part]
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    """title: the mail's id. about: what it is, by name. lines: what happened, in order."""

    title: str
    about: list[tuple[str, str]]
    lines: list[Line]


def story(mail: Mail) -> Story:
    """The story of a mail."""
    return Story(f"mail {mail.mail_id}", list(_about(mail)), list(_Teller(mail).lines()))


def passed(ms: int) -> str:
    """A stretch of time as people say it, with its sign."""
    sign, ms = ("-", -ms) if ms < 0 else ("+", ms)
    if ms < 1000:
        return f"{sign}{ms} ms"
    if ms < 60_000:
        return f"{sign}{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days} d {hours} h"
    return f"{sign}{hours} h {minutes} min" if hours else f"{sign}{minutes} min {seconds} s"


def _about(mail: Mail) -> Iterator[tuple[str, str]]:
    screenings = [entry.facts["screening"] for entry in mail.entries if entry.facts.get("screening")]
    subject = next((screening["subject"] for screening in screenings if screening.get("subject")), None)
    if subject:
        yield "subject", subject
    senders = [entry.facts["authentication"].get("sender") for entry in mail.entries if entry.facts.get("authentication")]
    if any(senders):
        yield "author", next(sender for sender in senders if sender)
    if mail.envelope.get("message_id"):
        yield "message-id", mail.envelope["message_id"]
    for code in mail.warnings:
        yield "warning", code


class _Teller:
    """Tells the records of one mail, in order; what several records repeat is told once."""

    def __init__(self, mail: Mail) -> None:
        self._mail = mail
        first = mail.entries[0]
        self._start = first.record.time
        self._dated = first.kind in _HAND_OVERS
        self._several = len({entry.facts["route"]["recipient"] for entry in mail.entries if entry.facts.get("route")}) > 1
        self._told: set[tuple[Any, ...]] = set()
        self._generation = 0

    def lines(self) -> Iterator[Line]:
        """Every line. Where the raw record is gone, later ones tell how the mail came, and the first of them has the time."""
        if not self._dated:
            envelope = self._mail.envelope
            yield Line(_clock(envelope["received_at"]), "received", [(_how(envelope), "")], ["its own record is erased or expired"])
        for entry in self._mail.entries:
            replay = entry.facts.get("replay")
            if replay and replay["generation"] != self._generation:
                self._generation = replay["generation"]
                word = "replies as usual" if replay.get("replies") else "without replies"
                yield self._line(entry, f"replay {self._generation}", [("processed again", "magenta"), (f", {word}", "dim")])
            yield from self._of(entry)
        yield from self._unfinished()

    def _of(self, entry: Entry) -> Iterator[Line]:
        facts = entry.facts
        if entry.kind in _HAND_OVERS:
            yield from self._received(entry)
        elif entry.kind == "repeated":
            yield self._repeated(entry)
        elif entry.kind in ("screened", "authenticated", "routed", "outcome"):
            if facts.get("screening") and self._first(entry, "screening"):
                yield self._screening(entry)
            if facts.get("authentication") and self._first(entry, "authentication"):
                yield self._authentication(entry)
            if entry.kind == "routed":
                yield from self._routed(entry)
            if entry.kind == "outcome":
                yield self._outcome(entry)
        elif entry.kind == "reply" and facts.get("reply"):
            yield self._reply(entry)
        elif entry.kind == "erased":
            yield self._erased(entry)

    def _first(self, entry: Entry, member: str) -> bool:
        """Whether a stage's word is told for the first time. Later records repeat it, and so does a replay that begins behind it."""
        key = (member, repr(entry.facts[member]))
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def _line(self, entry: Entry, label: str, parts: list[Part], notes: list[str] | None = None) -> Line:
        when = passed(entry.record.time - self._start) if self._dated else _clock(rfc3339(self._start))
        self._dated = True
        return Line(when, label, parts, notes or [])

    # -- what came in -------------------------------------------------------------------------------------------------------------

    def _received(self, entry: Entry) -> Iterator[Line]:
        envelope = entry.facts["envelope"]
        first = entry is self._mail.entries[0]
        how = _how(envelope)
        notes = []
        if envelope.get("truncated"):
            notes.append("too large: only its first 64 KiB were kept")
        if envelope.get("archived"):
            notes.append("its bytes are in the archive")
        if not first:
            yield self._line(entry, "handed over again", [(how, "")], notes)
            return
        taken_in = rfc3339(self._start)
        if abs(self._start - to_ms(envelope["received_at"])) >= _FAR_APART:
            yield Line(_clock(envelope["received_at"]), "received", [("as the mail or its file says", "dim")])
        yield Line(_clock(taken_in), "taken in", [(how, "")], notes)

    def _repeated(self, entry: Entry) -> Line:
        event = entry.facts["repeated"]
        first = event["first"]
        whom = f" for {', '.join(event['recipients'])}" if event["recipients"] else ""
        where = f"first at {first['topic']}/{first['partition']}/{first['offset']}"
        return self._line(entry, "bounce filter", [("repeated", "yellow"), (f"{whom}, {where}", "")])

    def _erased(self, entry: Entry) -> Line:
        """Told with the time, as the way of the mail ended long before."""
        envelope, erased = entry.facts["envelope"], Erased.of(entry.facts)
        kept = f"its {envelope['size']:,} octets had the SHA-256 {envelope['digest']}"
        why = f", {erased.why}" if erased.why else ""
        return Line(_clock(erased.at), "erased", [("erased", "red"), (f" by {erased.who}{why}", "")], [kept])

    # -- what was decided ---------------------------------------------------------------------------------------------------------

    def _screening(self, entry: Entry) -> Line:
        member = entry.facts["screening"]
        if member.get("rule"):
            parts = [(f"rule {member['rule']}", "yellow"), (f" fired on {member.get('field')}", "")]
        else:
            parts = [("passed", "green"), (", no rule fired", "dim")]
        silent = member.get("silence")
        return self._line(entry, "bounce filter", parts, [f"no mail of ours may answer it: {silent}"] if silent else [])

    def _authentication(self, entry: Entry) -> Line:
        member, outcome = entry.facts["authentication"], entry.facts.get("outcome") or {}
        return self._line(entry, "authentication", authentication_parts(member), evidence_lines(member, outcome.get("detail")))

    def _routed(self, entry: Entry) -> Iterator[Line]:
        route, record = entry.facts["route"], entry.record
        tries = record.header(ATTEMPT)
        if tries is not None:
            word = f"waits for a later try, after try {tries.decode()}" if tries != b"0" else "waits behind an earlier mail"
            whom = f", {route['recipient']}" if self._several else ""
            yield self._line(entry, f"handler {route['handler']}", [(word, "blue"), (whom, ""), (f" ({record.topic})", "dim")])
            return
        captured = ", ".join(f"{name}={value}" for name, value in (route.get("captures") or {}).items())
        parts = [
            (f"{route['recipient']} → ", ""),
            (f"handler {route['handler']}", "bold"),
            (f", address from {_source(route['source'])}", "dim"),
        ]
        yield self._line(entry, "routing", parts, [f"captured {captured}"] if captured else [])

    def _outcome(self, entry: Entry) -> Line:
        outcome = entry.facts["outcome"]
        status = outcome["status"]
        parts = [(f"{SYMBOLS[status]} {status}", f"bold {STYLES[status]}")]
        if outcome.get("reason"):
            parts.append((f", {outcome['reason']}", STYLES[status]))
        if outcome.get("recipient") and (self._several or outcome["stage"] == "routing"):
            parts.append((f", {outcome['recipient']}", ""))
        if outcome.get("detail") and outcome["detail"] != (entry.facts.get("screening") or {}).get("field"):
            parts.append((f": {outcome['detail']}", ""))
        notes = []
        if outcome.get("attempts", 1) > 1:
            notes.append(f"after {outcome['attempts']} tries")
        if outcome.get("oops_id"):
            notes.append(f"{outcome['oops_id']}")
        if outcome.get("fingerprint"):
            notes.append(f"fingerprint {outcome['fingerprint']}")
        label = outcome["stage"].replace("handler:", "handler ").replace("bounce-filter", "bounce filter")
        return self._line(entry, label, parts, notes)

    # -- what the sender heard ----------------------------------------------------------------------------------------------------

    def _reply(self, entry: Entry) -> Line:
        event = entry.facts["reply"]
        kind = {"oops": "OOPS mail", "notice": "notice", "answer": "answer of the handler"}.get(event["kind"], event["kind"])
        self._told.add(("reply", event["reply_id"]))
        if event["status"] == "sent":
            parts = [("sent", "green"), (f": {kind} to {event.get('to')}", "")]
        elif event["status"] == "silent":
            parts = [("silent", "dim"), (f": no {kind}, by the rule {event.get('rule')}", "")]
        else:
            parts = [("given up", "red"), (f": {kind}, {event.get('rule')}", "")]
        notes = [f"after {event['attempts']} tries"] if event.get("attempts", 1) > 1 else []
        return self._line(entry, "reply", parts, notes)

    def _unfinished(self) -> Iterator[Line]:
        """What is owed and not yet told of, and what still waits."""
        for entry in self._mail.entries:
            reply_id = entry.facts["outcome"].get("reply_id") if entry.kind == "outcome" else None
            if reply_id and ("reply", reply_id) not in self._told:
                self._told.add(("reply", reply_id))
                yield Line("now", "reply", [("waiting", "blue"), (" to be written or sent", "")])
        for place, stage in self._mail.waits.items():
            route = self._mail.current[place].get("route")
            whom = f" for {route['recipient']}" if route else ""
            yield Line("now", "pending", [(f"waits for {stage}", "blue"), (whom, "")])


def _how(envelope: Mapping[str, Any]) -> str:
    sender = envelope["sender"]
    who = "no envelope sender" if sender is None else f"envelope sender {sender or '<>'}"
    to = ", ".join(envelope["recipients"]) or "nobody named"
    return f"by {envelope['via']}, {envelope['size']:,} octets, {who}, for {to}"


def _source(source: str) -> str:
    return {"envelope": "the envelope", "to-cc": "To and Cc"}.get(source, f"the field {source.removeprefix('header:')}")


def _clock(at: str) -> str:
    return at.replace("T", " ").removesuffix("Z") + " UTC"
