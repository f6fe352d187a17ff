"""The border to pysequoia: certificates and signatures are judged here, in process.

Sequoia judges a certificate as of the signature's own time: a key that expired later, or was later revoked as superseded or retired,
still counts; one that was revoked as compromised does not. It compares two things with the clock all the same, which pysequoia does
not let us set: whether the signature has expired, and whether it lies more than 30 minutes ahead. Signatures for which that could
matter are GnuPG's (verification.py), so that judging again next year gives the same.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pysequoia
from pysequoia.packet import PacketPile, Tag


class Answer(NamedTuple):
    """Whose signature it is: the fingerprints of the certificate and of the (sub)key in it, upper-case hex."""

    certificate: str
    key: str


class KeyPacket(NamedTuple):
    """A key of a certificate as it stands there. fingerprint, key_id: upper-case hex. created: seconds since 1970. body: of the
    packet (RFC 9580 section 5.5.2)."""

    fingerprint: str
    key_id: str
    created: int
    body: bytes

    @property
    def algorithm(self) -> int:
        """The public-key algorithm, as RFC 9580 section 9.1 numbers it."""
        return self.body[5]

    @property
    def bits(self) -> int:
        """The bits of the first number of the key: the modulus, where it is an RSA key."""
        at = 10 if self.body[0] == 6 else 6
        return int.from_bytes(self.body[at : at + 2], "big")


class Certificate:
    """A public certificate, parsed once. Raises what pysequoia raises for bytes that are none."""

    __slots__ = ("_cert", "fingerprint")

    def __init__(self, cert: pysequoia.Cert) -> None:
        self._cert = cert
        self.fingerprint = cert.fingerprint.upper()

    def merged(self, other: "Certificate") -> "Certificate":
        """Both copies of one certificate as one: what either knows of subkeys, expiry and revocations."""
        return Certificate(self._cert.merge(other._cert))

    def binary(self) -> bytes:
        """The certificate as packets."""
        return bytes(self._cert)

    def armored(self) -> str:
        """The certificate as an armoured block."""
        return str(self._cert)

    def packets(self) -> Iterator[KeyPacket | bytes]:
        """Its keys, and the bodies of the signature packets that stand behind each, in order."""
        for packet in PacketPile.from_bytes(bytes(self._cert)):
            tag = packet.tag
            if tag in (Tag.PublicKey, Tag.PublicSubkey):
                created = int(packet.key_created.timestamp())
                yield KeyPacket(packet.fingerprint.upper(), packet.key_id.upper(), created, packet.body)
            elif tag == Tag.Signature:
                yield packet.body


class SecretKeyError(ValueError):
    """Secret keys where public ones should be."""


def certificates(data: bytes) -> list[Certificate]:
    """The certificates in binary or one armoured block. Raises SecretKeyError, and ValueError where there is anything else."""
    try:
        if any(packet.tag in (Tag.SecretKey, Tag.SecretSubkey) for packet in PacketPile.from_bytes(data)):
            raise SecretKeyError
        return [Certificate(cert) for cert in pysequoia.Cert.split_bytes(data)]
    except (RuntimeError, OSError) as error:
        raise ValueError(str(error).split("\n", 1)[0]) from None


def check(document: bytes, packet: bytes, created: int, candidates: Sequence[Certificate]) -> Answer | None:
    """Whether one of the candidates made this detached signature over the document, and might at the signature's own time.

    packet: one signature packet. created: its time as we read it; where Sequoia reads another, the answer is no. Returns None for
    every no: pysequoia does not say why. Never raises.
    """
    certs = [candidate._cert for candidate in candidates]
    try:
        signature = pysequoia.Sig.from_bytes(packet)
        result = pysequoia.verify(bytes=document, store=lambda _key_ids: certs, signature=signature)
        if signature.created is None or int(signature.created.timestamp()) != created or not result.valid_sigs:
            return None
        valid = result.valid_sigs[0]
        return Answer(valid.certificate.upper(), valid.signing_key.upper())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  a panic in Rust arrives as a BaseException, and must not end the batch
        return None
