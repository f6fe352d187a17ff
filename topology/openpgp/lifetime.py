"""When a key might sign, read from its certificate: expiry, revocations, flags, and how strong it is.

These facts are not proved here: the engines do that. They explain a refusal in words, say whether what only GnuPG accepts is weak,
and supply one thing that GnuPG leaves out: that a key revoked as superseded or retired was good before (RFC 9580 section 5.2.3.31).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from topology.openpgp.errors import DamagedError
from topology.openpgp.packets import HASHES, SHA1, SignaturePacket, read_packet
from topology.openpgp.result import Verdict
from topology.openpgp.sequoia import Certificate, KeyPacket

DSA, ELGAMAL = 17, 20
_RSA = (1, 2, 3)
_SOFT_REASONS = (1, 3)  # superseded, retired; no reason given counts as compromised
_MAY_SIGN = 0x02
_SELF_SIGNATURES = (0x10, 0x11, 0x12, 0x13, 0x1F)
_SUBKEY_BINDING, _KEY_REVOCATION, _SUBKEY_REVOCATION = 0x18, 0x20, 0x28


class _Revocation(NamedTuple):
    created: int
    soft: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a certificate, the primary one or a subkey. primary: the primary key, or None for itself. bindings: what binds it to
    its certificate. All times are seconds since 1970."""

    packet: KeyPacket
    certificate: Certificate
    primary: "Key | None"
    bindings: list[SignaturePacket]
    revocations: list[_Revocation]

    def fault(self, at: int) -> tuple[Verdict, str] | None:
        """Why the key might not sign at that time, as a verdict and in words; None where nothing speaks against it."""
        if at < self.packet.created:
            return "unusable-key", f"the signature is older than its key, which was made on {day(self.packet.created)}"
        for key in (self, self.primary):
            if key and (fault := key._revoked(at) or key._expired(at)):
                return fault
        flags = self._binding(at)
        if flags and flags.key_flags is not None and not flags.key_flags & _MAY_SIGN:
            return "unusable-key", f"key {self.packet.fingerprint} is not one that may sign; sign with another one"
        return None

    def soft_revoked_only(self) -> bool:
        """Whether the key or its primary key is revoked, and each time as superseded or retired."""
        revocations = self.revocations + (self.primary.revocations if self.primary else [])
        return bool(revocations) and all(revocation.soft for revocation in revocations)

    def is_weak(self) -> bool:
        """Whether the key, or all that binds it, is of a strength that Sequoia's policy refuses today."""
        algorithm = self.packet.algorithm
        if algorithm in (DSA, ELGAMAL) or (algorithm in _RSA and self.packet.bits < 2048):
            return True
        modern = any(binding.hash in HASHES and binding.hash != SHA1 for binding in self.bindings)
        return not modern or bool(self.primary and self.primary.is_weak())

    def was_bound(self, at: int) -> bool:
        """Whether a self-signature as old as that stands on the key and on its primary key. GnuPG replaces them when a key is
        extended, and then Sequoia knows nothing of the time before."""
        bound = any(binding.created <= at for binding in self.bindings)
        return bound and (self.primary is None or self.primary.was_bound(at))

    def _revoked(self, at: int) -> tuple[Verdict, str] | None:
        for revocation in self.revocations:
            if not revocation.soft:
                return (
                    "revoked-key",
                    f"key {self.packet.fingerprint} is revoked as compromised or without a reason, so nothing it signed counts",
                )
            if revocation.created <= at:
                return (
                    "revoked-key",
                    f"key {self.packet.fingerprint} was revoked on {day(revocation.created)}, before it signed; sign with its successor",
                )
        return None

    def _expired(self, at: int) -> tuple[Verdict, str] | None:
        binding = self._binding(at)
        expires = self.packet.created + binding.key_expires if binding and binding.key_expires else None
        if expires is None or at < expires:
            return None
        words = f"key {self.packet.fingerprint} had expired on {day(expires)} when it signed; extend it, and give us the new public key"
        return "expired-key", words

    def _binding(self, at: int) -> SignaturePacket | None:
        """The latest self-signature as of that time; where all are younger (GnuPG replaces them), the first of those."""
        known = [binding for binding in self.bindings if binding.created <= at]
        if known:
            return max(known, key=lambda binding: binding.created)
        return min(self.bindings, key=lambda binding: binding.created, default=None)


def day(seconds: int) -> str:
    """The day of a time, UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def keys(certificate: Certificate) -> list[Key]:
    """All keys of a certificate, the primary one first."""
    found: list[Key] = []
    for packet in certificate.packets():
        if isinstance(packet, KeyPacket):
            found.append(Key(packet, certificate, found[0] if found else None, [], []))
            continue
        try:
            signature = read_packet(packet)
        except DamagedError:
            continue
        _sort_in(signature, found)
    return found


def _sort_in(signature: SignaturePacket, found: list[Key]) -> None:
    """Notes a signature of the certificate with the key that it is about. Other people's certifications say nothing here."""
    primary, latest = found[0], found[-1]
    own = signature.issuer in (None, primary.packet.fingerprint) and signature.issuer_id in (None, primary.packet.key_id)
    revocation = _Revocation(signature.created, signature.revocation in _SOFT_REASONS)
    if signature.kind == _KEY_REVOCATION:
        primary.revocations.append(revocation)
    elif signature.kind == _SUBKEY_REVOCATION and latest is not primary:
        latest.revocations.append(revocation)
    elif signature.kind in _SELF_SIGNATURES and own:
        primary.bindings.append(signature)
    elif signature.kind == _SUBKEY_BINDING and own and latest is not primary:
        latest.bindings.append(signature)
