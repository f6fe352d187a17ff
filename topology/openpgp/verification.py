"""Verifying a mail: what is signed, who judges it, and what comes of it."""

import logging
from dataclasses import replace

from topology.facts import rfc3339
from topology.openpgp import find, forms, sequoia
from topology.openpgp.errors import AmbiguousError, DamagedError
from topology.openpgp.forms import SignedThing
from topology.openpgp.gnupg import GnupgError
from topology.openpgp.keyring import Keyring
from topology.openpgp.lifetime import DSA, ELGAMAL, Key, day
from topology.openpgp.packets import BINARY, SHA1, TEXT, SignaturePacket, read_packet, signature_packets, unsupported
from topology.openpgp.result import MAX_SIGNATURES, Engine, Form, Signature, Verdict, Verification

log = logging.getLogger(__name__)

AHEAD = 600
"""Seconds by which a signature may be younger than the receipt and still be Sequoia's to judge: its own tolerance is 30 minutes,
counted from the clock."""

_MICALG = {b"pgp-md5": 1, b"pgp-sha1": 2, b"pgp-ripemd160": 3, b"pgp-sha256": 8, b"pgp-sha384": 9, b"pgp-sha512": 10, b"pgp-sha224": 11}

_CHANGED = (
    "the signature does not fit the text: it was changed after it was signed, or a program on the way re-wrapped it; "
    "send it again, signed as PGP/MIME if it happens twice"
)
_OLD = "the signature is of an old kind, by its key or algorithms (DSA, SHA-1, short RSA, version 3); sign with a new key of type Ed25519"


def verify(raw: bytes, received_at_ms: int, keys: Keyring) -> Verification | None:
    """What is OpenPGP-signed in the mail and whether it holds, or None when nothing is.

    raw: the mail as received. received_at_ms: when, in milliseconds since 1970 UTC. keys: those that we hold.
    The first signed thing counts: of several clear-signed blocks the first, of several signed parts the first, and only where no
    unsigned part stands before it. Same mail, time and keys: same answer. Never raises; may run one gpg process a signature.
    """
    if not find.may_be_signed(None, raw):
        return None
    try:
        place = find.find(raw)
    except AmbiguousError as error:
        return _flaw("mime", "ambiguous", str(error))
    if place is None:
        return None
    if not place.first:
        return _flaw(place.form, "not-first", "an unsigned part stands before the signed one; put the signed text first")
    try:
        thing = forms.read(raw, place)
        bodies = list(signature_packets(thing.packets))[:MAX_SIGNATURES]
    except DamagedError as error:
        return _flaw(place.form, "damaged", str(error))
    if not bodies:
        return _flaw(place.form, "damaged", "the signature block is empty")
    if not _micalg_fits(place.micalg, bodies):
        return _flaw(place.form, "ambiguous", "the mail's micalg names another hash than its signature (RFC 3156 section 5)")
    judged = tuple(_judge(body, thing, received_at_ms // 1000, keys) for body in bodies)
    good = any(signature.verdict == "good" for signature in judged)
    return Verification(place.form, judged, thing.range if good else None)


def as_of(found: Verification, at_ms: int, keys: Keyring) -> Verification:
    """What was found, with signatures no longer good whose key has expired or been revoked by that time, in milliseconds since 1970 UTC:
    for somebody who asks what the mail would be worth if it came then. `verify` asks whether the key was good when it signed."""
    judged = tuple(_as_of(signature, at_ms // 1000, keys) for signature in found.signatures)
    return replace(found, signatures=judged, signed=found.signed if any(one.verdict == "good" for one in judged) else None)


def _as_of(signature: Signature, at: int, keys: Keyring) -> Signature:
    named = [key for key in keys.named(signature.key, None) if key.certificate.fingerprint == signature.fingerprint]
    faults = [fault for key in named if (fault := key.fault(at))]
    if signature.verdict != "good" or not faults or len(faults) < len(named):
        return signature
    verdict, _ = faults[0]
    since = "has expired since it signed; extend it, and give us the new public key"
    reason = since if verdict == "expired-key" else "has been withdrawn since it signed; sign with its successor"
    return replace(signature, verdict=verdict, reason=f"key {signature.key} {reason}")


def _flaw(form: Form, verdict: Verdict, reason: str) -> Verification:
    return Verification(form, (Signature(verdict, reason=reason),))


def _micalg_fits(micalg: bytes, bodies: list[bytes]) -> bool:
    named = {_MICALG[name] for name in micalg.replace(b" ", b"").split(b",") if name in _MICALG}
    return not named or any(body[16 if body[:1] == b"\x03" else 3 :][:1] in {bytes((number,)) for number in named} for body in bodies)


def _judge(body: bytes, thing: SignedThing, received: int, keys: Keyring) -> Signature:
    """One signature. Steps that cost nothing come first, so that a process is run only for what a key of ours may have signed."""
    if reason := unsupported(body):
        return Signature("unsupported", reason=reason)
    try:
        signature = read_packet(body)
        if signature.kind not in (BINARY, TEXT):
            return Signature("damaged", reason="the signature is not one over a document")
        named = keys.named(signature.issuer, signature.issuer_id)
        if not named:
            return _unknown(signature)
        for form in thing.fitting(signature):
            # One form in 65,536 fits by chance, and then the engine says no.
            judged = _ask(form, signature, received, named, keys)
            if judged.verdict != "bad":
                return judged
    except DamagedError as error:
        return Signature("damaged", reason=str(error))
    return _result(signature, "bad", named[0].certificate.fingerprint, reason=_CHANGED)


def _ask(form: bytes, signature: SignaturePacket, received: int, named: tuple[Key, ...], keys: Keyring) -> Signature:
    """What the engines say of a signature over one byte form: Sequoia first, GnuPG for what Sequoia refuses for another reason than
    the key's own, and for what Sequoia would judge by the clock."""
    candidates = list({key.certificate.fingerprint: key.certificate for key in named}.values())
    claimed = candidates[0].fingerprint
    if signature.expires is not None and signature.expires <= received:
        reason = f"the signature expired on {day(signature.expires)}, before the mail came; sign it again"
        return _result(signature, "expired-signature", claimed, reason=reason)
    clocked = signature.expires is not None or signature.created > received + AHEAD
    old = signature.version == 3 or signature.hash == SHA1 or signature.algorithm in (DSA, ELGAMAL)
    if not clocked and (mine := sequoia.check(form, signature.packet, signature.created, candidates)):
        return _result(signature, "good", mine.certificate, mine.key, "sequoia", legacy=old, reason=_OLD if old else "")
    faults = [fault for key in named if (fault := key.fault(signature.created))]
    if len(faults) == len(named):
        return _result(signature, faults[0][0], claimed, reason=faults[0][1])
    try:
        theirs = keys.gnupg.check(form, signature.packet, signature.created, candidates)
    except GnupgError:
        log.exception("an OpenPGP signature could not be judged")
        return _result(signature, "unjudged", claimed, reason="only GnuPG can judge this signature, and it could not be run here")
    said = theirs.said
    if said == "revoked" and all(key.soft_revoked_only() for key in named):
        said = "good"  # their fault() has found nothing, so all of it came later
    if said == "good":
        timely = not clocked and all(key.was_bound(signature.created) for key in named)
        legacy = old or timely or any(key.is_weak() for key in named)
        return _result(signature, "good", theirs.certificate, theirs.key, "gnupg", legacy=legacy, reason=_OLD if legacy else "")
    verdict, reason = _REFUSED[said]
    return _result(signature, verdict, claimed, engine="gnupg", reason=reason)


_REFUSED: dict[str, tuple[Verdict, str]] = {
    "bad": ("bad", _CHANGED),
    "expired": ("expired-key", "the key had expired when it signed; extend it, and give us the new public key"),
    "revoked": ("revoked-key", "the key is revoked; sign with its successor"),
    "refused": ("unsupported", "neither Sequoia nor GnuPG accepts this signature and its key; sign with a new key of type Ed25519"),
}


def _unknown(signature: SignaturePacket) -> Signature:
    key = signature.issuer or signature.issuer_id
    which = f"with key {key}, which we do not hold" if key else "without saying with which key"
    return _result(signature, "unknown-key", None, reason=f"the text is signed {which}; give us the public key and sign again")


def _result(
    signature: SignaturePacket,
    verdict: Verdict,
    certificate: str | None,
    key: str | None = None,
    engine: Engine | None = None,
    *,
    legacy: bool = False,
    reason: str,
) -> Signature:
    named = key or signature.issuer or signature.issuer_id
    return Signature(verdict, certificate, named, rfc3339(signature.created * 1000), engine, legacy, reason)
