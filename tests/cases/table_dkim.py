"""S7 to S11, and what forgers do with mails that DKIM signed. The broken signatures are those of tests/dkim/cases."""

from collections.abc import Mapping
from typing import Any

from tests.cases.case import SAMPLE, Case, Fact
from tests.dkim import case as dkim_case
from tests.dkim.signer import record, sign
from tests.dkim.table_mails import MAIL

_RECEIVED = dkim_case.RECEIVED
_TRUSTING: Mapping[str, Mapping[str, Any]] = {"authentication": {"trusted_domains": ["example.org"]}}
_ANY: Mapping[str, Mapping[str, Any]] = {"authentication": {"trusted_domains": ["*"]}}
_STRICT: Mapping[str, Mapping[str, Any]] = {"authentication": {"trusted_domains": ["*"], "alignment": "strict"}}
_WINDOW: Mapping[str, Mapping[str, Any]] = {"authentication": {"trusted_domains": ["*"], "dkim_max_age": "48h"}}
_NAME = "sel._domainkey.example.org"
_ZONE = {_NAME: record("rsa-2048")}
_SIGNED = sign(MAIL, "rsa-2048")
_STRONG = Fact("strong", "sample", method="dkim")


def _case(name: str, row: str, proves: str, mail: bytes, fact: Fact, **how: Any) -> Case:
    return Case(name, row, proves, mail, fact, **({"received_at": _RECEIVED, "settings": _TRUSTING, "zone": _ZONE} | how))


def _weak(reason: str) -> Fact:
    return Fact("weak", "sample", reason=reason)


def _by_sender(signed_names: str) -> bytes:
    """From a person of another domain, by our account as Sender; signed are these fields."""
    mail = MAIL.replace(b"Sample Person <test@example.org>", b"Boss <boss@elsewhere.example>")
    return sign(b"Sender: Sample Person <test@example.org>\r\n" + mail, "rsa-2048", tags={"h": signed_names})


# S9: the signature is no proof, by each of the reasons there are; and the words of the fact.
_BROKEN = {
    "021-body-changed": "body has been changed", "023-from-changed": "", "024-subject-changed": "header field has been changed",
    "032-second-subject": "2 Subject fields", "116-rsa-sha1": "SHA-1", "117-unknown-algorithm": "algorithm is unknown",
    "118-unknown-form": "canonicalisation is unknown", "109-tag-twice": "stands twice", "112-control-character": "control character",
    "115-version-2": "version is unknown", "130-from-not-signed": "From is not among the signed fields",
    "133-body-length": "only the beginning of the body", "140-expired": "had expired at receipt", "142-future": "made after receipt",
    "161-identity-outside": "i= lies outside d=", "162-identity-lookalike": "i= lies outside d=", "165-top-level": "no domain name",
    "182-too-many": "no a=", "201-no-key": "there is no key", "202-no-record": "", "203-revoked": "revoked", "204-no-base64": "malformed",
    "205-no-key-in-it": "malformed", "207-512-bits": "512 bits", "208-1023-bits": "1023 bits", "209-not-for-mail": "not for mail",
    "211-for-sha1-only": "other hashes than SHA-256", "213-unknown-kind": "", "224-two-keys": "2 rsa keys",
    "229-testing": "only being tested",
    "231-strict": "t=s", "233-temporary-error": "temperror", "234-permanent-error": "permerror",
    "235-large-exponent": "exponent has", "038-bare-cr-in-header": "bare CR",
    "039-line-that-is-no-field": "no field", "042-attached": "not signed", "043-name-in-body": "not signed",
}  # fmt: skip
_OTHERWISE = {  # those that do not end as weak
    "023-from-changed": Fact("unknown", sender="root@example.org", reason="no account"),
    "038-bare-cr-in-header": Fact("unknown", sender=None, reason="two From fields", ends="rejected from-ambiguous"),
    "039-line-that-is-no-field": Fact("unknown", sender=None, reason="no account"),
}


def _broken(name: str, reason: str) -> Case:
    told = dkim_case.read(name)
    row = "S10" if told.results and told.results[0].result == "temperror" else "S9"
    fact = _OTHERWISE.get(name, _weak(reason))
    return _case(
        f"{row.lower()}-{name}", row, told.proves, told.mail, fact, received_at=told.received_at, settings=_ANY, zone=dict(told.zone)
    )


DKIM_CASES = [
    _case("s7-dkim", "S7", "Signed by the domain of From, which is trusted, and the address is an account's. It is strong.",
          _SIGNED, _STRONG),
    _case("s7-ed25519", "S7", "The same with Ed25519. It is strong.", sign(MAIL, "ed25519"), _STRONG, zone={_NAME: record("ed25519")}),
    _case("s7-any-aligned", "S7", "trusted_domains names any aligned signer. It is strong.", _SIGNED, _STRONG, settings=_ANY),
    _case("s7-subdomain", "S7", "Signed by a domain below the author's, relaxed. It is strong.",
          sign(MAIL, "rsa-2048", tags={"d": "mail.example.org"}), _STRONG, settings=_ANY,
          zone={"sel._domainkey.mail.example.org": record("rsa-2048")}),
    _case("s7-subdomain-strict", "S9", "The same where alignment is strict. It is not aligned.",
          sign(MAIL, "rsa-2048", tags={"d": "mail.example.org"}), _weak("not aligned"), settings=_STRICT,
          zone={"sel._domainkey.mail.example.org": record("rsa-2048")}),
    _case("s7-unsigned-account", "S7", "Signed well, by somebody who has no account. It is unknown.", _SIGNED, Fact("unknown",
          reason="no account"),
          accounts=()),
    _case("s8-sender", "S8",
          "From is a stranger, Sender an account, and the signature is of Sender's domain and covers it. It is Sender's.",
          _by_sender("from:sender:to:subject:date"), _STRONG),
    _case("s8-sender-not-signed", "S8", "The same, but Sender was put there by somebody on the way. It proves nobody.",
          _by_sender("from:to:subject:date"), Fact("unknown", sender="boss@elsewhere.example", reason="not aligned")),
    _case("s8-second-sender", "S8", "A second Sender was put on top of the signed one. Nobody can tell which counts.",
          b"Sender: boss@elsewhere.example\r\n" + _by_sender("from:sender:to:subject:date"),
          Fact("unknown", sender="boss@elsewhere.example", reason="no account")),
    _case("s9-not-trusted", "S9", "The signature holds, by a domain that is not trusted. It counts as unsigned, and says so.", _SIGNED,
          _weak("not among trusted_domains"), settings={"authentication": {"trusted_domains": ["elsewhere.example"]}}),
    _case("s9-trusted-above", "S9", "A domain above the signer is trusted. A trusted domain is meant exactly.",
          sign(MAIL, "rsa-2048", tags={"d": "mail.example.org"}), _weak("not among trusted_domains"),
          zone={"sel._domainkey.mail.example.org": record("rsa-2048")}),
    _case("s9-not-aligned", "S9", "A trusted domain signed a mail from an account of another one. It does not speak for that one.",
          sign(MAIL, "rsa-2048", tags={"d": "elsewhere.example"}), _weak("not aligned"), settings=_ANY,
          zone={"sel._domainkey.elsewhere.example": record("rsa-2048")}),
    _case("s9-lookalike-domain", "S9", "The signer's name ends as the author's domain does. It is another domain.",
          sign(MAIL, "rsa-2048", tags={"d": "badexample.org"}), _weak("not aligned"), settings=_ANY,
          zone={"sel._domainkey.badexample.org": record("rsa-2048")}),
    _case("s9-sibling", "S9", "A domain beside the author's signed. It speaks for its own only.",
          sign(MAIL.replace(b"test@example.org", b"test@a.example.org"), "rsa-2048", tags={"d": "b.example.org"}),
          Fact("weak", "sample", "test@a.example.org", reason="not aligned"), settings=_ANY,
          accounts=({**SAMPLE, "addresses": ["test@a.example.org"]},), zone={"sel._domainkey.b.example.org": record("rsa-2048")}),
    _case("s9-other-address", "S9", "Signed by the account's own domain, but the address is not one of its verified ones. It is nobody's.",
          sign(MAIL.replace(b"test@example.org", b"eve@example.org"), "rsa-2048"),
          Fact("unknown", sender="eve@example.org", reason="no account")),
    _case("s9-second-from", "S9", "A second From was put on top of a signed mail. Nobody can tell who wrote it.",
          b"From: Other <other@example.org>\r\n" + _SIGNED, Fact("unknown", sender=None, reason="two From fields",
          ends="rejected from-ambiguous")),
    *(_broken(name, reason) for name, reason in _BROKEN.items()),
    _case("s11-one-good", "S11", "Of two signatures the upper is of another domain, the lower good and aligned. It is strong.",
          sign(_SIGNED, "rsa-2048", tags={"d": "list.example"}), _STRONG, settings=_ANY),
    _case("s11-bad-above-good", "S11", "The upper signature of the same domain does not verify, the lower does. It is strong.",
          sign(_SIGNED, "rsa-2048", tags={"b": "AAAA"}), _STRONG),
    # What was signed, sent on as something else.
    _case("forged-second-to", "forgery", "A second To was put on top of a signed mail, to show it as written to others. It does not count.",
          b"To: all@foo.com\r\n" + _SIGNED, _weak("2 To fields"), settings=_ANY),
    _case("forged-subject-with-a-blank", "forgery", "A second Subject has a blank before its colon. It is one all the same to many.",
          b"Subject : Pay now\r\n" + _SIGNED, _weak("blank before its colon"), settings=_ANY),
    _case("forged-text-in-a-field-with-a-blank", "forgery",
          "A field with a blank before its colon was added behind the signed ones. To some readers it is the first of the text.",
          _SIGNED.replace(b"\r\n\r\n", b"\r\nX-Note : see below\r\n status invalid\r\n\r\n", 1), _weak("blank before its colon"),
          settings=_ANY),
    _case("forged-attached-signed-mail", "forgery",
          "A mail that DKIM signed is attached to one that nobody signed. Its signature is not this mail's.",
          b"From: test@example.org\r\nTo: a@foo.com\r\nSubject: fwd\r\nContent-Type: message/rfc822\r\n\r\n" + _SIGNED, _weak("not signed"),
          settings=_ANY),
    _case("replayed-dkim", "forgery",
          "DKIM signs no envelope, and has no window by default: a mail of last year sent on to another address is strong. "
          "Set dkim_max_age where that matters.",
          _SIGNED, _STRONG, received_at="2025-06-01T00:10:00Z", recipients=("close@foo.com",)),
    _case("replayed-dkim-window", "forgery", "The same under dkim_max_age. It counts as unsigned.",
          _SIGNED, _weak("seconds old at receipt"),
          received_at="2025-06-01T00:10:00Z", recipients=("close@foo.com",), settings=_WINDOW),
    _case("replayed-dkim-ageless", "forgery", "A signature without t= under dkim_max_age. Its age is not known, so it does not count.",
          sign(MAIL, "rsa-2048", tags={"t": None}), _weak("its age is not known"), settings=_WINDOW),
]  # fmt: skip
