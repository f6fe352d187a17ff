"""DKIM-Signature fields (RFC 6376 3.5): read, and refused where neither key nor clock is needed to know that they do not count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from topology.alignment import below, domain_name
from topology.dkim import tags
from topology.dkim.mail import Mail, header_end
from topology.dkim.words import Flaw

MAX_SIGNATURES = 10  # an honest mail has one to four; each costs a look-up and a verification
MAX_FIELD = 32_768  # bytes of one signature field; honest ones have 300 to 4,000
MAX_NAMES = 1_000  # names in h=
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_FORMS = {"simple", "relaxed"}
_KNOWN = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
_HEADER_NAME = re.compile(rb"[!-9<-~]+")
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Signed:
    """One DKIM-Signature field, and the mail that it stands in.

    place: which of the mail's fields. domain, selector, identity, algorithm: d=, s=, i=, a=, the domain in A-labels, empty where
    they cannot be read. signed_at, expires_at: t= and x=, seconds since 1970. names: the names in h=, in lower case.
    flaw: why it does not pass whatever key and clock say.
    """

    mail: Mail = field(repr=False, compare=False)
    place: int
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    signed_at: int | None = None
    expires_at: int | None = None
    names: tuple[bytes, ...] = ()
    relaxed_header: bool = False
    relaxed_body: bool = False
    body_hash: bytes = b""
    signature: bytes = b""
    flaw: Flaw | None = None

    @property
    def dns_name(self) -> str | None:
        """The name whose TXT record holds the key; None when no key could make it pass."""
        return None if self.flaw else f"{self.selector}._domainkey.{self.domain}"

    @property
    def kind(self) -> str:
        """The kind of key it needs, as k= of a key record says it."""
        return _KNOWN[self.algorithm]

    @property
    def own_field(self) -> bytes:
        """The whole signature field, without its last CRLF."""
        return self.mail.fields[self.place]


def signatures(raw: bytes, limit: int = MAX_SIGNATURES) -> tuple[Signed, ...]:
    """The signatures of a mail (any bytes), from top to bottom; () at next to no cost when it has none. Those beyond the limit
    are neither read nor judged: one last entry stands for them, with a flaw that tells their number."""
    end = header_end(raw)
    if b"dkim-signature" not in raw[:end].lower():
        return ()
    mail = Mail(raw, end)
    places = mail.places.get(b"dkim-signature", [])
    found = [_read(mail, place) for place in places[:limit]]
    if len(places) > limit:
        beyond = Flaw("policy", f"{len(places) - limit} more signatures stand below and were not judged (the limit is {limit})")
        found.append(Signed(mail, places[limit], flaw=beyond))
    return tuple(found)


def _read(mail: Mail, place: int) -> Signed:
    value = mail.fields[place].partition(b":")[2]
    if len(value) > MAX_FIELD:
        return Signed(mail, place, flaw=Flaw("permerror", f"the signature field is longer than {MAX_FIELD} bytes"))
    try:
        tag = tags.parse(value)
    except tags.TagError as error:
        return Signed(mail, place, flaw=Flaw("permerror", f"the signature field is malformed: {error}"))
    header_form, _, body_form = tag.get("c", "simple/simple").partition("/")
    names = tuple([name.strip(b" \t\r\n") for name in tag.get("h", "").encode().lower().split(b":", MAX_NAMES)])
    domain = domain_name(tag.get("d", "")) or ""
    body_hash, signature = _base64(tag.get("bh", "")), _base64(tag.get("b", ""))
    return Signed(
        mail,
        place,
        domain=domain,
        selector=domain_name(tag.get("s", "")) or "",
        identity=tag.get("i", f"@{domain}")[:320],
        algorithm=tag.get("a", "")[:40],
        signed_at=_number(tag.get("t")),
        expires_at=_number(tag.get("x")),
        names=names,
        relaxed_header=header_form == "relaxed",
        relaxed_body=body_form == "relaxed",
        body_hash=body_hash,
        signature=signature,
        flaw=Flaw("policy", mail.flaw) if mail.flaw else _flaw(tag, domain, names, body_hash, signature),
    )


def _number(value: str | None) -> int | None:
    return int(value) if value and _NUMBER.fullmatch(value) else None


def _base64(value: str) -> bytes:
    try:
        return tags.base64(value)
    except tags.TagError:
        return b""


def _flaw(tag: Mapping[str, str], domain: str, names: Sequence[bytes], body_hash: bytes, signature: bytes) -> Flaw | None:
    """The first thing that is wrong with the tags, or None."""
    for name in _REQUIRED:
        if name not in tag:
            return Flaw("permerror", f"the signature field has no {name}=")
    flaw = _flaw_of_form(tag) or _flaw_of_signer(tag, domain) or _flaw_of_extent(tag, names) or _flaw_of_times(tag)
    if not flaw and len(body_hash) != 32:
        return Flaw("permerror", "bh= is no SHA-256 hash in base64")
    if not flaw and not signature:
        return Flaw("permerror", "b= is not base64")
    return flaw


def _flaw_of_form(tag: Mapping[str, str]) -> Flaw | None:
    if tag["v"] != "1":
        return Flaw("permerror", f"the version is unknown (v={tag['v'][:40]})")
    if tag["a"] == "rsa-sha1":
        return Flaw("policy", "a=rsa-sha1, and SHA-1 does not count any more (RFC 8301)")
    if tag["a"] not in _KNOWN:
        return Flaw("permerror", f"the algorithm is unknown (a={tag['a'][:40]})")
    if not _FORMS.issuperset(tag.get("c", "simple").split("/", 2)) or tag.get("c", "").count("/") > 1:
        return Flaw("permerror", f"the canonicalisation is unknown (c={tag['c'][:40]})")
    if "q" in tag and "dns/txt" not in (query.strip(tags.FWS) for query in tag["q"].split(":")):
        return Flaw("permerror", f"the key is not to be had from DNS (q={tag['q'][:40]})")
    return None


def _flaw_of_signer(tag: Mapping[str, str], domain: str) -> Flaw | None:
    # The grammar of 3.5 asks for two labels in d=, so no top-level domain signs for all below it.
    if "." not in domain or tag["d"].endswith("."):
        return Flaw("permerror", f"d= is no domain name (d={tag['d'][:80]})")
    selector = domain_name(tag["s"])
    if not selector or tag["s"].endswith(".") or len(selector) + len(domain) > 240:
        return Flaw("permerror", f"s= is no selector (s={tag['s'][:80]})")
    _, at, identity_domain = tag.get("i", f"@{domain}").rpartition("@")
    if not at or not below(domain_name(identity_domain) or "", domain):
        return Flaw("permerror", f"i= lies outside d= (i={tag['i'][:80]}, d={domain})")
    return None


def _flaw_of_extent(tag: Mapping[str, str], names: Sequence[bytes]) -> Flaw | None:
    if len(names) > MAX_NAMES:
        return Flaw("permerror", f"h= has more than {MAX_NAMES} names")
    if not all(map(_HEADER_NAME.fullmatch, names)):
        return Flaw("permerror", "h= is no list of field names")
    if b"from" not in names:
        return Flaw("permerror", "From is not among the signed fields (h=)")
    if "l" in tag:
        return Flaw("policy", "only the beginning of the body is signed (l=), so anything may have been added")
    return None


def _flaw_of_times(tag: Mapping[str, str]) -> Flaw | None:
    times = {name: _number(tag[name]) for name in "tx" if name in tag}
    for name, seconds in times.items():
        if seconds is None:
            return Flaw("permerror", f"{name}= is no number of up to 12 digits")
    signed_at, expires_at = times.get("t"), times.get("x")
    if signed_at is not None and expires_at is not None and expires_at <= signed_at:
        return Flaw("permerror", "the signature expires before it was made (x= is not after t=)")
    return None
