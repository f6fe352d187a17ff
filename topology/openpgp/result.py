"""What a verification found: frozen values that become evidence in the facts, so every field is JSON and short (under 1 KiB)."""

from dataclasses import dataclass, fields
from typing import Any, Literal

Form = Literal["clear", "mime"]
"""clear: the cleartext framework in a text part (RFC 9580 section 7). mime: multipart/signed (RFC 3156 section 5)."""

Verdict = Literal[
    "good",  # the key made this signature over this text, and might at that time
    "bad",  # the key that the signature names did not sign this text: it was changed, or the signature is forged
    "unknown-key",  # no certificate of the keyring holds the key that the signature names, or it names none
    "expired-key",  # the key, or its primary key, had expired when the signature was made
    "revoked-key",  # revoked by then, or revoked at any time as compromised or without a reason
    "unusable-key",  # the key is younger than the signature, or may not sign
    "expired-signature",  # the signature itself had expired when the mail was received
    "damaged",  # the armour, the packets or the frame round them cannot be read
    "unsupported",  # readable, but of a kind that neither engine judges (MD5, OpenPGP version 5)
    "ambiguous",  # the mail can be read in more than one way, so nobody can say what was signed
    "not-first",  # an unsigned part stands before the signed one, so a reader sees that first
    "unjudged",  # only GnuPG could judge it, and GnuPG could not be run; the log says why
]
"""The closed list. Only "good" proves anything."""

FAULTS: frozenset[Verdict] = frozenset(
    {"bad", "unknown-key", "expired-key", "revoked-key", "unusable-key", "expired-signature", "damaged", "unsupported"}
)
"""Verdicts about a signature that the sender meant for this mail and that does not hold: `bad-signature` when none is good.
The others besides "good" (ambiguous, not-first, unjudged) say that the mail counts as unsigned; their reason says why."""

Engine = Literal["sequoia", "gnupg"]


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and what became of it.

    verdict: see `Verdict`. fingerprint: of the certificate's primary key, upper-case hex; proved when the verdict is good, else
    the certificate of the keyring that the signature names, or None. key: the fingerprint or key id of the (sub)key that the
    signature names, upper-case hex, or None. created_at: the signature's own time, RFC 3339 UTC with milliseconds; as good as the
    verdict. engine: who judged it; None where nobody had to. legacy: only GnuPG accepts it, or it is made with DSA, SHA-1 or in
    version 3. reason: words for the person who signed, one or two sentences without a full stop at the end.
    """

    verdict: Verdict
    fingerprint: str | None = None
    key: str | None = None
    created_at: str | None = None
    engine: Engine | None = None
    legacy: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SignedRange:
    """Which bytes of the mail the good signature covers; `signed_text` turns them into text.

    form: as in Verification. part: the MIME path, parts counted from 1 ("1.2"), and "" for the body of a mail without parts.
    decoded: whether start and end count in the part's decoded body (base64, quoted-printable); else they count in the mail as
    received. start, end: offsets in bytes, end excluded. charset: of the part of a clear-signed text, as its header says, or "".
    """

    form: Form
    part: str
    decoded: bool
    start: int
    end: int
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What there was to verify in one mail.

    form: how it was signed; always mime where the mail is ambiguous. signatures: at least one, in the mail's order, at most
    MAX_SIGNATURES; those behind are not looked at. signed: the range, when at least one signature is good; else None.
    """

    form: Form
    signatures: tuple[Signature, ...]
    signed: SignedRange | None = None

    def evidence(self) -> dict[str, Any]:
        """The same as plain JSON values, for the facts."""
        signatures = [{name: getattr(one, name) for name in _SIGNATURE} for one in self.signatures]
        signed = {name: getattr(self.signed, name) for name in _RANGE} if self.signed else None
        return {"form": self.form, "signatures": signatures, "signed": signed}


# `asdict` copies what nobody changes, at ten times the cost.
_SIGNATURE, _RANGE = (tuple(field.name for field in fields(kind)) for kind in (Signature, SignedRange))


MAX_SIGNATURES = 8
"""Signatures of one mail that are judged. Two are in use (a person's and a role's, or two keys during a change)."""
