"""OpenPGP signature packets (RFC 9580 sections 4.2 and 5.2), read without judging them.

The engines judge signatures, but tell too little: which key a signature names, when it was made, and with what, decides who is asked
and what the sender is told. Everything here is bounded by the packet's length.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from topology.openpgp.errors import DamagedError

SIGNATURE = 2
_IGNORED = (10, 21)  # marker and padding packets: RFC 9580 sections 5.8 and 5.14 have them ignored wherever they stand

MAX_PACKET = 128 * 1024
"""Bytes of one signature packet. The largest in use (SLH-DSA) has 50 KB."""

SHA1 = 2
HASHES = {
    SHA1: hashlib.sha1,
    8: hashlib.sha256,
    9: hashlib.sha384,
    10: hashlib.sha512,
    11: hashlib.sha224,
    12: hashlib.sha3_256,
    14: hashlib.sha3_512,
}
"""Hash algorithms that are judged (RFC 9580 section 9.5). MD5 and RIPEMD-160 are not: collisions are cheap."""
_HASH_NAMES = {1: "MD5", 3: "RIPEMD-160"}

BINARY, TEXT = 0x00, 0x01
"""The signature types that sign a document (RFC 9580 section 5.2.1). Others are certifications and never count for a mail."""


def signature_packets(data: bytes) -> Iterator[bytes]:
    """The bodies of the signature packets in a dearmoured block, in order. Raises DamagedError at the first thing that is none."""
    at = 0
    while at < len(data):
        tag, start, end = _frame(data, at)
        if end > len(data):
            raise DamagedError("the signature block is cut off")
        if tag == SIGNATURE:
            if end - start > MAX_PACKET:
                raise DamagedError("the signature block holds a packet of more than 128 KiB")
            yield data[start:end]
        elif tag not in _IGNORED:
            raise DamagedError(f"the signature block holds something else than signatures (a packet of type {tag})")
        at = end


def _frame(data: bytes, at: int) -> tuple[int, int, int]:
    """Type, start and end of the body of the packet at `at`, in either header format (RFC 9580 section 4.2)."""
    first = data[at]
    if not first & 0x80:
        raise DamagedError("the signature block does not hold OpenPGP packets")
    if first & 0x40:
        length, start = _length(data, at + 1, partial=True)
        return first & 0x3F, start, start + length
    size = (1, 2, 4, 0)[first & 3]
    if not size:
        raise DamagedError("the signature block holds a packet without a length")
    start = at + 1 + size
    return first >> 2 & 0x0F, start, start + int.from_bytes(data[at + 1 : start], "big")


def _length(data: bytes, at: int, *, partial: bool) -> tuple[int, int]:
    """A length of one, two or five octets at `at`, and where what it measures begins."""
    if at >= len(data):
        raise DamagedError("the signature block is cut off")
    first = data[at]
    if first < 192:
        return first, at + 1
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    if partial and first >= 224:
        raise DamagedError("the signature block holds a packet in pieces")
    return (first - 192 << 8) + int.from_bytes(data[at + 1 : at + 2], "big") + 192, at + 2


class SignaturePacket(NamedTuple):
    """What a signature says of itself; nothing of it is proved.

    body: the packet's body. version: 3, 4 or 6. kind: the signature type. algorithm: of the public key. hash: as RFC 9580 numbers
    them. created: seconds since 1970. expires: likewise, or None. issuer: the fingerprint of the key that made it, upper-case hex,
    or None; issuer_id: its key id. key_expires: seconds after the key's creation, on self-signatures. key_flags: of those,
    or None. revocation: the reason code on revocations, or None. prefix: the first two octets of the hash. trailer: what is hashed
    behind the document; salt: before it.
    """

    body: bytes
    version: int
    kind: int
    algorithm: int
    hash: int
    created: int
    expires: int | None
    issuer: str | None
    issuer_id: str | None
    key_expires: int | None
    key_flags: int | None
    revocation: int | None
    prefix: bytes
    trailer: bytes
    salt: bytes

    @property
    def packet(self) -> bytes:
        """The whole packet again, with a header of one fixed format."""
        return b"\xc2\xff" + len(self.body).to_bytes(4, "big") + self.body

    def fits(self, digest: "hashlib._Hash") -> bool:
        """Whether the hash of a document begins as the signature says it does (RFC 9580 section 5.2.4). False proves that the
        signature is not over it; True leaves one chance in 65,536, and the engine to say.

        digest: the running hash of `salt` and then the document, by the algorithm of HASHES; it is used up.
        """
        digest.update(self.trailer)
        return digest.digest()[:2] == self.prefix


def unsupported(body: bytes) -> str | None:
    """Why neither engine will judge the signature packet, in words, or None where one may."""
    version = body[0] if body else 0
    if version not in (3, 4, 6):
        return f"the signature is of OpenPGP version {version}; sign with version 4 or 6"
    at = 16 if version == 3 else 3
    hash_algorithm = body[at] if len(body) > at else 0
    if hash_algorithm in HASHES:
        return None
    name = _HASH_NAMES.get(hash_algorithm, f"hash algorithm {hash_algorithm}")
    return f"the signature is made with {name}, which proves nothing; sign with SHA-256 or SHA-512"


def read_packet(body: bytes) -> SignaturePacket:
    """Reads the body of a signature packet. Raises DamagedError. Unknown versions are `unsupported`, to be asked first."""
    try:
        return _version_3(body) if body[:1] == b"\x03" else _version_4_or_6(body)
    except IndexError:
        raise DamagedError("the signature packet is cut off") from None


def _version_3(body: bytes) -> SignaturePacket:
    """RFC 9580 section 5.2.2: length (5), type, time, key id, algorithms, hash prefix, and no subpackets."""
    if len(body) < 20 or body[1] != 5:
        raise DamagedError("the signature packet is cut off")
    return SignaturePacket(
        body=body,
        version=3,
        kind=body[2],
        algorithm=body[15],
        hash=body[16],
        created=int.from_bytes(body[3:7], "big"),
        expires=None,
        issuer=None,
        issuer_id=body[7:15].hex().upper(),
        key_expires=None,
        key_flags=None,
        revocation=None,
        prefix=body[17:19],
        trailer=body[2:7],
        salt=b"",
    )


def _version_4_or_6(body: bytes) -> SignaturePacket:
    """RFC 9580 section 5.2.3: type, algorithms, hashed and unhashed subpackets, hash prefix; a salt in version 6."""
    version = body[0]
    wide = 4 if version == 6 else 2
    hashed_at = 4 + wide
    hashed_end = hashed_at + int.from_bytes(body[4:hashed_at], "big")
    unhashed_at = hashed_end + wide
    unhashed_end = unhashed_at + int.from_bytes(body[hashed_end:unhashed_at], "big")
    if unhashed_end + 2 > len(body):
        raise DamagedError("the signature packet is cut off")
    hashed = _subpackets(body, hashed_at, hashed_end)
    created = _number(hashed, 2)
    if created is None:
        raise DamagedError("the signature does not say when it was made")
    # Who made it may stand outside the hashed area: a wrong name there leads to a key that did not make the signature.
    named = {**_subpackets(body, unhashed_at, unhashed_end), **hashed}
    issuer = named.get(33, b"")[1:].hex().upper() or None
    issuer_id = named.get(16, b"").hex().upper() or None
    lifetime, flags, revocation = _number(hashed, 3), hashed.get(27), hashed.get(29)
    salt_at = unhashed_end + 3
    return SignaturePacket(
        body=body,
        version=version,
        kind=body[1],
        algorithm=body[2],
        hash=body[3],
        created=created,
        expires=created + lifetime if lifetime else None,
        issuer=issuer,
        issuer_id=issuer_id,
        key_expires=_number(hashed, 9),
        key_flags=flags[0] if flags else None,
        revocation=revocation[0] if revocation else None,
        prefix=body[unhashed_end : unhashed_end + 2],
        trailer=body[:hashed_end] + bytes((version, 0xFF)) + hashed_end.to_bytes(4, "big"),
        salt=body[salt_at : salt_at + body[unhashed_end + 2]] if version == 6 else b"",
    )


_SINGLE = (2, 3, 9, 16, 33)
"""Subpackets (created, expires, key expires, issuer, issuer fingerprint) of which two would let two programs read two things."""


def _subpackets(body: bytes, at: int, end: int) -> dict[int, bytes]:
    """The subpackets between two offsets, by type (RFC 9580 section 5.2.3.7). Raises DamagedError."""
    found: dict[int, bytes] = {}
    while at < end:
        length, start = _length(body, at, partial=False)
        at = start + length
        if not length or at > end:
            raise DamagedError("the signature packet is cut off")
        kind, value = body[start] & 0x7F, body[start + 1 : at]
        if kind in _SINGLE and found.get(kind, value) != value:
            raise DamagedError("the signature says twice, and differently, who made it or when")
        found[kind] = value
    return found


def _number(subpackets: dict[int, bytes], kind: int) -> int | None:
    value = subpackets.get(kind)
    if value is None:
        return None
    if len(value) != 4:
        raise DamagedError("the signature says in a wrong format when it was made or how long it holds")
    return int.from_bytes(value, "big")
