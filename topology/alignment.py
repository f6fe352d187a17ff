"""Whether the domain that answers for a mail is the author's own (DMARC's identifier alignment, RFC 7489 3.1).

RFC 7489 calls two domains relaxed-aligned when they have the same organisational domain, which it finds by the public suffix
list. That list changes weekly and a stale one errs towards the forger, so we do without and take less: relaxed here means that
one domain is the other, or lies below it, and that the upper one is no public suffix. Of two aligned domains the upper one
rules the lower. Signing for a domain below one's own is therefore safe whatever the upper one is, for its owner could
publish keys there anyway. Signing for a domain above is safe wherever names below are not given away to strangers; where they
are, a stranger's signature would speak for the giver, and that is what the guard below refuses. Left out against the RFC:
siblings (a.example.org signing for b.example.org), which come out as not aligned, hence weaker, never stronger.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from topology.address import domain_key

Alignment = Literal["strict", "relaxed", "none"]

# Second-level names below which countries sell names: co.uk, com.au, ac.jp. A domain that only looks like one loses relaxed
# alignment between itself and its subdomains, and nothing else.
_SECOND_LEVEL = {
    "ac", "asn", "co", "com", "ed", "edu", "firm", "gen", "go", "gob", "gouv", "gov", "govt", "gv", "id", "ind", "info", "int", "law",
    "ltd", "me", "med", "mil", "mod", "muni", "name", "ne", "net", "nhs", "nic", "nom", "or", "org", "parliament", "plc", "police",
    "press", "priv", "pro", "pvt", "res", "sch", "school", "sci", "store", "tm", "tv", "web",
}  # fmt: skip
# Services that give names below their own to anybody, with the right to publish TXT records there.
_GIVEN_AWAY = {
    "br.com", "cn.com", "co.com", "co.de", "co.nl", "com.de", "com.se", "de.com", "eu.com", "eu.org", "gb.net", "gr.com", "hu.net",
    "jp.net", "jpn.com", "mex.com", "pp.ua", "ru.com", "sa.com", "se.net", "uk.com", "uk.net", "us.com", "us.org", "za.com",
    "ddns.net", "duckdns.org", "dyndns.org", "dynv6.net", "freedns.org", "hopto.org", "is-a.dev", "js.org", "mooo.com", "myddns.me",
    "no-ip.org", "nsupdate.info", "qzz.io", "sytes.net", "us.kg", "zapto.org",
}  # fmt: skip


def domain_name(text: str) -> str | None:
    """The domain name as domains are compared (`topology.address.domain_key`); None when it is none, or an address literal."""
    return _domain_name(text) if len(text) <= 1000 else None


@lru_cache(maxsize=4096)
def _domain_name(text: str) -> str | None:
    key = domain_key(text)
    return key if key and len(key) <= 253 and not key.startswith("[") else None


def below(lower: str, upper: str) -> bool:
    """Whether the first domain is the second or lies below it. Both as `domain_name` gives them."""
    return lower == upper or lower.endswith(f".{upper}")


def alignment(signer: str, author: str) -> Alignment:
    """How the signer's domain (d=) stands to the author's. Both in any spelling; what is no domain is aligned with nothing."""
    one, other = domain_name(signer), domain_name(author)
    if one is None or other is None:
        return "none"
    if one == other:
        return "strict"
    upper, lower = sorted((one, other), key=len)
    return "relaxed" if below(lower, upper) and not is_public_suffix(upper) else "none"


def aligned(signer: str, author: str, mode: Literal["relaxed", "strict"]) -> bool:
    """Whether the signer's domain speaks for the author's, under the setting `authentication.alignment`."""
    return alignment(signer, author) in {"strict", mode}


def is_public_suffix(domain: str) -> bool:
    """Whether strangers own names below this domain, so far as we know. Towards yes where in doubt: yes costs a rare
    alignment, no could let one customer of a registry speak for the registry itself."""
    labels = domain.split(".")
    if len(labels) == 1:
        return True
    country = len(labels[-1]) == 2 or labels[-1].startswith("xn--")
    return (len(labels) == 2 and country and labels[0] in _SECOND_LEVEL) or domain in _GIVEN_AWAY
