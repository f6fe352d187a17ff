"""Cases about the key record, and about DNS."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.dkim.case import Case, Expected
from tests.dkim.signer import key, record, sign
from tests.dkim.table_mails import MAIL, PASS
from topology.answers import Evidence

_NAME = "sel._domainkey.example.org"
_SIGNED = sign(MAIL)
_SUBDOMAIN = sign(MAIL, tags={"i": "sample@mail.example.org"})
_SPF = "v=spf1 -all"


def _rsa_public(name: str) -> str:
    """The key as RSAPublicKey, without the frame that all the world has round it."""
    private = key(name)
    assert isinstance(private, RSAPrivateKey)
    return base64.b64encode(private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()


def _large_exponent() -> str:
    private = key("rsa-2048")
    assert isinstance(private, RSAPrivateKey)
    numbers = RSAPublicNumbers((1 << 2046) + 1, private.public_key().public_numbers().n)
    return base64.b64encode(numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _ed25519_framed() -> str:
    private = key("ed25519")
    assert isinstance(private, Ed25519PrivateKey)
    return base64.b64encode(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _case(name: str, value: Evidence, proves: str, expected: Expected | None = None, mail: bytes = _SIGNED, *, dkimpy: str = "") -> Case:
    return Case(name, mail, [expected] if expected else PASS, proves, {_NAME: value}, dkimpy=dkimpy)


def _bad(reason: str, result: str = "permerror") -> Expected:
    return Expected(result, reason)


_FOLDED = record("rsa-1024")[:120] + " \t " + record("rsa-1024")[120:]

KEY_CASES = [
    Case("201-no-key", _SIGNED, [_bad("there is no key")], "DNS has no such name. The signature cannot be verified.", {}),
    _case("202-no-record", [], "The name has no TXT record. There is no key.", _bad("there is no key")),
    _case("203-revoked", "v=DKIM1; p=", "p= is empty. The key is revoked.", _bad("revoked")),
    _case("204-no-base64", "v=DKIM1; p=!!", "p= is not base64. There is no key.", _bad("p= is no rsa key")),
    _case("205-no-key-in-it", "v=DKIM1; p=AAAA", "p= holds no key. There is none.", _bad("p= is no rsa key")),
    _case("206-another-kind-within", record("rsa-1024", p=_ed25519_framed()), "k= says rsa, and p= holds an Ed25519 key. There is none.",
        _bad("of another kind")),
    _case("207-512-bits", record("rsa-512"), "A key of 512 bits verifies. It must not count (RFC 8301).", _bad("512 bits", "policy"),
        sign(MAIL, "rsa-512")),
    _case("208-1023-bits", record("rsa-1023"), "A key of 1,023 bits verifies. One bit too few.", _bad("1023 bits", "policy"),
        sign(MAIL, "rsa-1023")),
    _case("235-large-exponent", record("rsa-2048", p=_large_exponent()),
        "The key's exponent is as long as the key, to keep us busy. It does not count.",
        _bad("exponent has 2047 bits", "policy"), sign(MAIL, "rsa-2048")),
    _case("209-not-for-mail", record("rsa-1024", s="tlsrpt"), "The key is for reports on TLS. It is not for mail.", _bad("not for mail")),
    _case("210-for-mail", record("rsa-1024", s="other : email"), "The key is for mail among others. It counts.",
        dkimpy="Compares s= as one word and refuses the list. RFC 6376 3.6.1 makes it a list."),
    _case("211-for-sha1-only", record("rsa-1024", h="sha1"), "The key is for SHA-1 only. Nothing that counts is left.", _bad("SHA-256"),
        dkimpy="Passes: it does not read h=. RFC 6376 3.6.1 and 6.1.2: the hash must be in the list."),
    _case("212-for-both-hashes", record("rsa-1024", h="sha1 : sha256"), "The key is for both hashes. It counts."),
    _case("213-unknown-kind", record("rsa-1024", k="dsa"), "k= is unknown. The key is for no signature that we know.",
        _bad("unknown kind")),
    _case("214-other-kind", record("ed25519"), "The key is an Ed25519 one, the signature RSA's. It has no key.", _bad("no rsa key")),
    _case("215-version-2", record("rsa-1024", v="DKIM2"), "v= is another version's. The record is to be discarded.", _bad("v=DKIM1")),
    _case("216-no-version", record("rsa-1024").removeprefix("v=DKIM1; "), "v= is absent. The record still counts."),
    _case("217-late-version", record("rsa-1024").removeprefix("v=DKIM1; ") + "; v=DKIM1",
        "v= is there and does not come first. The RFC asks for that.", _bad("v=DKIM1"),
        dkimpy="Passes. RFC 6376 3.6.1: v= must be the first tag."),
    _case("218-no-p", "v=DKIM1; k=rsa", "p= is absent. There is no key.", _bad("no p=")),
    _case("219-tag-twice", record("rsa-1024") + "; k=rsa", "A tag stands twice. The whole record is void.", _bad("stands twice")),
    _case("220-not-a-record", "some words", "The record is no tag list. There is no key.", _bad("malformed")),
    _case("221-folded-key", _FOLDED, "White space stands in p=. It is no part of the key."),
    _case("222-old-tag", record("rsa-1024", g="*"), "g= was dropped from the RFC. It is passed over."),
    _case("223-bare-rsa-key", record("rsa-1024", p=_rsa_public("rsa-1024")),
        "p= is the key without its frame, as the RFC's text has it. It counts."),
    _case("224-two-keys", [record("rsa-1024"), record("rsa-1024-other")],
        "Two RSA keys stand at the name. Which is meant is undefined (RFC 6376 3.6.2.2).",
        _bad("2 rsa keys"), dkimpy="Sees one record only: whichever came first."),
    _case("225-key-and-revocation", [record("rsa-1024"), "v=DKIM1; p="],
        "A key and its revocation stand at the name. We do not choose the key.",
        _bad("2 rsa keys"), dkimpy="Sees one record only: whichever came first."),
    _case("226-key-beside-others", [_SPF, record("rsa-1024"), "site-verification=1"],
        "Other records stand beside the key. They are no keys.",
        dkimpy="Takes the record that comes first. RFC 6376 6.1.2 lets the verifier try each."),
    _case("227-two-kinds", [record("ed25519"), record("rsa-1024")], "A key of each kind stands at the name. Each signature has its own.",
        dkimpy="Takes the record that comes first. RFC 6376 6.1.2 lets the verifier try each."),
    _case("228-too-many-records", ["v=spf1"] * 8 + [record("rsa-1024")],
        "Nine records stand at the name. A fact could not keep them as evidence.",
        _bad("9 TXT records")),
    _case("229-testing", record("rsa-1024", t="y"), "t=y: the domain is only testing. Good or bad, it counts as unsigned.",
        _bad("t=y", "neutral"),
        dkimpy="Passes: it does not read t=. RFC 6376 3.6.1: not to be treated differently from unsigned mail."),
    _case("230-testing-changed", record("rsa-1024", t="y:s"), "t=y, and the body was changed. It counts as unsigned, not as forged.",
        _bad("body has been changed", "neutral"),
        _SIGNED.replace(b"night", b"month")),
    _case("231-strict", record("rsa-1024", t="s"), "t=s forbids i= in a subdomain. This one is.", _bad("forbids", "permerror"),
        _SUBDOMAIN,
        dkimpy="Passes: it does not read t=. RFC 6376 3.6.1 (t=s): the domain of i= must be d=."),
    _case("232-strict-exact", record("rsa-1024", t=" s "), "t=s, and i= is in d= itself. It counts.", None,
        sign(MAIL, tags={"i": "Sample@Example.ORG"})),
    _case("233-temporary-error", "TEMPERROR", "DNS could not tell. Later it might.", _bad("temporary error", "temperror")),
    _case("234-permanent-error", "PERMERROR", "DNS cannot tell. It never will.", _bad("permanent error")),
]  # fmt: skip
