"""Signatures that no program makes any more, packet by packet (RFC 9580 section 5.2)."""

import hashlib
from datetime import UTC, datetime

import pysequoia
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from pysequoia.packet import PacketPile, Tag

from tests.openpgp.making.gnupg import SECRET

_HASHES: dict[str, tuple[int, hashes.HashAlgorithm]] = {
    "md5": (1, hashes.MD5()),
    "sha1": (2, hashes.SHA1()),
    "sha256": (8, hashes.SHA256()),
}
_RSA = 1


def version_3(name: str, data: bytes, at: str, hash_name: str = "sha1") -> bytes:
    """An armoured signature of version 3 by the RSA key of that name over binary data."""
    trailer = b"\x00" + _seconds(at).to_bytes(4, "big")
    digest = hashlib.new(hash_name, data + trailer).digest()
    number = _HASHES[hash_name][0]
    _, key_id = _names(name)
    body = b"\x03\x05" + trailer + key_id + bytes((_RSA, number)) + digest[:2] + _rsa(name, hash_name, digest)
    return armor(body)


def version_4(name: str, data: bytes, at: str, hash_name: str, kind: int = 0) -> bytes:
    """An armoured signature of version 4 by the RSA key of that name, with whatever hash."""
    fingerprint, key_id = _names(name)
    hashed = b"\x05\x02" + _seconds(at).to_bytes(4, "big") + b"\x16\x21\x04" + fingerprint
    start = bytes((4, kind, _RSA, _HASHES[hash_name][0])) + len(hashed).to_bytes(2, "big") + hashed
    digest = hashlib.new(hash_name, data + start + b"\x04\xff" + len(start).to_bytes(4, "big")).digest()
    unhashed = b"\x09\x10" + key_id
    return armor(start + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + _rsa(name, hash_name, digest))


def armor(*bodies: bytes) -> bytes:
    """Signature packets of those bodies as one armoured block with LF."""
    packets = b"".join(b"\xc2\xff" + len(body).to_bytes(4, "big") + body for body in bodies)
    return pysequoia.armor(packets, pysequoia.ArmorKind.Signature).encode()


def certification(name: str) -> bytes:
    """The body of the self-certification on the key of that name."""
    packets = PacketPile.from_file(str(SECRET / f"{name}.asc"))
    return next(bytes(packet.body) for packet in packets if packet.tag == Tag.Signature)


def _seconds(at: str) -> int:
    return int(datetime.strptime(at, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp())


def _names(name: str) -> tuple[bytes, bytes]:
    fingerprint = bytes.fromhex(pysequoia.Cert.from_file(str(SECRET / f"{name}.asc")).fingerprint)
    return fingerprint, fingerprint[-8:]


def _rsa(name: str, hash_name: str, digest: bytes) -> bytes:
    """The signature as an OpenPGP number, with the secret numbers from the exported key, which no passphrase hides."""
    packet = next(packet for packet in PacketPile.from_file(str(SECRET / f"{name}.asc")) if packet.tag == Tag.SecretKey)
    body, numbers, at = bytes(packet.body), [], 6
    for count in range(6):
        at += 1 if count == 2 else 0  # the octet that says that the rest is not encrypted
        bits = int.from_bytes(body[at : at + 2], "big")
        end = at + 2 + (bits + 7) // 8
        numbers.append(int.from_bytes(body[at + 2 : end], "big"))
        at = end
    n, e, d, p, q, _ = numbers
    public = rsa.RSAPublicNumbers(e, n)
    private = rsa.RSAPrivateNumbers(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public)
    signature = int.from_bytes(private.private_key().sign(digest, padding.PKCS1v15(), Prehashed(_HASHES[hash_name][1])), "big")
    return signature.bit_length().to_bytes(2, "big") + signature.to_bytes((signature.bit_length() + 7) // 8, "big")
