"""Whether a signature verifies (RFC 6376 6.1): pure, given the answers of DNS and the time of receipt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from topology.alignment import domain_name
from topology.answers import Answer
from topology.dkim import canon, keys, tags
from topology.dkim.signature import Signed
from topology.dkim.words import Flaw, Result

MAX_KEY, MAX_HEADERS = 1024, 512  # characters of the key record, and of the names in h=, that a result keeps
# Fields of which RFC 5322 3.6 and RFC 2045 3 allow one, and which change what a reader sees or whom an answer reaches.
_SINGLE = (
    b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits, in milliseconds. future: how far t= may lie ahead of receipt, for clocks that differ. max_age: how far it may
    lie before receipt, against signed mail that is handed over again to others; None: any age. With it, a signature without t=
    does not count, because its age is not known (large providers leave t= out, so think twice)."""

    future: int = 600_000
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class DkimResult:
    """What one signature is worth, as evidence (plain JSON types).

    domain, identity, selector, algorithm: d=, i=, s=, a=. key: the TXT record used, cut at MAX_KEY. signed_at, expires_at:
    t= and x=, seconds since 1970. headers: the distinct names in h=, cut at MAX_HEADERS. unsigned: those fields of which a mail may
    have one only, and of which at least one here is not signed: what they say is nobody's word. reason: why it is not a pass.
    """

    result: Result
    domain: str
    identity: str
    selector: str
    algorithm: str
    key: str | None
    signed_at: int | None
    expires_at: int | None
    headers: tuple[str, ...]
    unsigned: tuple[str, ...]
    reason: str

    def evidence(self) -> dict[str, Any]:
        """The same as plain JSON values, for the facts; without the key's record, which stands among the answers of DNS."""
        lists = {"headers": list(self.headers), "unsigned": list(self.unsigned)}
        return {name: getattr(self, name) for name in _EVIDENCE} | lists | {"key": None}


_EVIDENCE = tuple(field.name for field in fields(DkimResult) if field.name != "key")


def verify(
    signed: Sequence[Signed], answers: Mapping[str, Answer], received_at_ms: int, limits: Limits = Limits()
) -> tuple[DkimResult, ...]:
    """One result for each signature, in their order. answers: what DNS said about each `dns_name`; a name that is missing counts
    as a temporary error. received_at_ms: milliseconds since 1970. Raises nothing, whatever the mail and the answers hold."""
    return tuple(_judge(one, answers, received_at_ms, limits) for one in signed)


def _judge(one: Signed, answers: Mapping[str, Answer], received_at_ms: int, limits: Limits) -> DkimResult:
    fields, unsigned = _cover(one)
    flaw = one.flaw or _time_flaw(one, received_at_ms, limits) or _single_flaw(one, unsigned)
    if flaw:
        return _result(one, unsigned, flaw, None)
    key = _key(one, answers)
    flaw = key.flaw or _strict_flaw(one, key) or _content_flaw(one, key, fields)
    if key.testing:
        # RFC 6376 3.6.1: a mail signed with such a key must be treated as if it were unsigned, verified or not.
        flaw = Flaw("neutral", f"the key is only being tested (t=y); {flaw.reason if flaw else 'the signature verifies'}")
    return _result(one, unsigned, flaw, key)


def _cover(one: Signed) -> tuple[list[bytes], tuple[str, ...]]:
    """The header fields that the signature is over, in the order of h= (each name takes the lowest field not yet taken, and
    nothing when there is none: 5.4.2), and the names of single fields of which one is left. The signature's own field is never
    among them (3.5)."""
    mail = one.mail
    left: dict[bytes, list[int]] = {}
    fields: list[bytes] = []
    for name in one.names:
        if name not in left:
            left[name] = [place for place in mail.places.get(name, ()) if place != one.place]
        if left[name]:
            fields.append(mail.fields[left[name].pop()])
    unsigned = [name.decode() for name in _SINGLE if name in mail.places and left.get(name, True)]
    return fields, tuple(unsigned)


def _time_flaw(one: Signed, received_at_ms: int, limits: Limits) -> Flaw | None:
    if one.expires_at is not None and received_at_ms > one.expires_at * 1000:
        return Flaw("policy", "the signature had expired at receipt (x=)")
    if one.signed_at is not None and one.signed_at * 1000 > received_at_ms + limits.future:
        return Flaw("policy", "the signature was made after receipt (t=)")
    if limits.max_age is None:
        return None
    if one.signed_at is None:
        return Flaw("policy", "the signature has no time (t=), so its age is not known")
    if received_at_ms - one.signed_at * 1000 > limits.max_age:
        return Flaw("policy", f"the signature was more than {limits.max_age // 1000} seconds old at receipt (t=)")
    return None


def _single_flaw(one: Signed, unsigned: Sequence[str]) -> Flaw | None:
    places = one.mail.places
    if b"from" not in places:
        return Flaw("permerror", "there is no From field")
    # A second Subject put on top of a signed one is what a reader sees (RFC 6376 8.15), and RFC 5322 3.6 knows no honest one. A
    # single field that is not signed passes: large signers leave out Content-Type, and `unsigned` says so.
    for name in unsigned:
        if (number := len(places[name.encode()])) > 1:
            return Flaw("policy", f"{number} {name.title()} fields are present, and not each of them is signed")
    return None


def _key(one: Signed, answers: Mapping[str, Answer]) -> keys.Key:
    name = one.dns_name or ""
    answer = answers.get(name) or Answer("temperror", why="it was not looked up")
    if answer.status == "found":
        return keys.choose(answer.texts, one.kind)
    if answer.status == "none":
        return keys.Key("", one.kind, flaw=Flaw("permerror", f"there is no key: DNS has no TXT record at {name}"))
    return keys.Key("", one.kind, flaw=Flaw(answer.status, f"the key at {name} could not be had: {answer.why}"))


def _strict_flaw(one: Signed, key: keys.Key) -> Flaw | None:
    if key.strict and domain_name(one.identity.rpartition("@")[2]) != one.domain:
        return Flaw("permerror", f"i= lies in a subdomain of d=, which the key forbids (t=s; i={one.identity[:80]}, d={one.domain})")
    return None


def _content_flaw(one: Signed, key: keys.Key, fields: Sequence[bytes]) -> Flaw | None:
    if one.mail.body_hash(one.relaxed_body) != one.body_hash:
        return Flaw("fail", "the body has been changed since it was signed (bh=)")
    if not key.verifies(one.signature, _signed_bytes(one, fields)):
        return Flaw("fail", "a signed header field has been changed, or the signature is by another key (b=)")
    return None


def _signed_bytes(one: Signed, fields: Sequence[bytes]) -> bytes:
    """What b= is a signature over (3.7): the signed fields, and this field without the value of b= and without its CRLF."""
    name, colon, value = one.own_field.partition(b":")
    own = name + colon + tags.without(value, b"b")
    form = canon.relaxed_field if one.relaxed_header else bytes
    return b"\r\n".join([*map(form, fields), form(own)])


def _result(one: Signed, unsigned: tuple[str, ...], flaw: Flaw | None, key: keys.Key | None) -> DkimResult:
    headers = b":".join(dict.fromkeys(one.names))[:MAX_HEADERS].decode("ascii", "replace")
    return DkimResult(
        result=flaw.result if flaw else "pass",
        domain=one.domain,
        identity=one.identity,
        selector=one.selector,
        algorithm=one.algorithm,
        key=key.text[:MAX_KEY] if key else None,
        signed_at=one.signed_at,
        expires_at=one.expires_at,
        headers=tuple(headers.split(":")) if headers else (),
        unsigned=unsigned,
        reason=flaw.reason[:300] if flaw else "",
    )
