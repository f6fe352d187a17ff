"""ASCII armour (RFC 9580 section 6.2), read from a block that came by mail."""

import binascii

from topology.openpgp.errors import DamagedError

SIGNATURE_BEGIN = b"-----BEGIN PGP SIGNATURE-----"
_SIGNATURE_END = b"-----END PGP SIGNATURE-----"

MAX_ARMOR = 256 * 1024
"""Bytes of one armoured block. The largest signature in use (SLH-DSA) takes 70 KB of it."""


def read_signature(data: bytes, start: int) -> bytes:
    """The binary packets of the signature block whose BEGIN line stands at `start`.

    Armour headers are skipped (they are not signed and mean nothing here), and so is the checksum: RFC 9580 section 6.1 forbids
    to refuse a block for it. Raises DamagedError.
    """
    end = data.find(b"\n" + _SIGNATURE_END, start, start + MAX_ARMOR)
    if end < 0:
        raise DamagedError("the signature block has no end line")
    lines = data[start:end].split(b"\n")
    if lines[0].rstrip(b" \t\r") != SIGNATURE_BEGIN:
        raise DamagedError("the signature block's first line holds more than it should")
    at = 1
    while at < len(lines) and b":" in lines[at]:
        at += 1
    words = b"\n".join(lines[at:]).split()
    if words and len(words[-1]) == 5 and words[-1].startswith(b"="):
        words.pop()
    try:
        packets = binascii.a2b_base64(b"".join(words), strict_mode=True)
    except binascii.Error:
        raise DamagedError("the signature block is not sound base64") from None
    if not packets:
        raise DamagedError("the signature block is empty")
    return packets
