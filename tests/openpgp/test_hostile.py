"""Whatever arrives is judged: nothing raises, and 10 MiB of anything costs bounded time (the timeouts) and memory."""

import binascii
import random
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.openpgp.conftest import CASES, keyring
from tests.openpgp.making.mail import PLAIN, head, mail, multipart, signed, text_part
from topology.openpgp import MAX_SIGNATURES, Form, SignedRange, may_be_signed, signed_text, verify
from topology.openpgp.find import find
from topology.openpgp.forms import read
from topology.openpgp.packets import read_packet, signature_packets

KEYS = keyring(("stranger",))
RECEIVED = 1768046700000
SIZE = 10 << 20
CLEAR = Path(CASES, "01-clear.eml").read_bytes()
BLOCK = CLEAR[CLEAR.index(b"-----BEGIN PGP SIGNATURE") :]
BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
MIXED = b'Content-Type: multipart/mixed; boundary="a"\n\n'


def _packet() -> bytes:
    place = find(CLEAR)
    assert place is not None
    return read_packet(next(signature_packets(read(CLEAR, place).packets))).packet


def _armor(packets: bytes) -> bytes:
    return b"-----BEGIN PGP SIGNATURE-----\n\n" + binascii.b2a_base64(packets) + b"-----END PGP SIGNATURE-----\n"


def _bomb() -> bytes:
    """150 MiB of zeros in 150 KB, as a packet of compressed data (RFC 9580 section 5.6) such as a signed message is wrapped in."""
    packed = zlib.compressobj()
    data = b"\x02" + b"".join(packed.compress(bytes(1 << 20)) for _ in range(150)) + packed.flush()
    return b"\xc8\xff" + len(data).to_bytes(4, "big") + data


def _clear(text: bytes, block: bytes = BLOCK) -> bytes:
    return head(PLAIN) + BEGIN + b"Hash: SHA512\n\n" + text + b"\n" + block


def _deep(levels: int, inner: bytes) -> bytes:
    for level in range(levels):
        inner = multipart("mixed", inner, boundary=f"={level}=")
    return mail(inner)


def _type(value: bytes) -> bytes:
    return b"Content-Type: multipart/mixed" + value + b"\n\nBEGIN PGP SIGN"


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one line end": lambda: b"\n",
    "NULs": lambda: b"\0" * SIZE + b"BEGIN PGP SIGN",
    "noise": lambda: random.Random(1).randbytes(SIZE) + b"BEGIN PGP SIGN",
    "ten million empty lines": lambda: _clear(b"\n" * SIZE),
    "five million lines of a blank": lambda: _clear(b" \n" * (SIZE // 2)),
    "ten million blanks": lambda: _clear(b" " * SIZE),
    "ten million CRs": lambda: _clear(b"\r" * SIZE),
    "BEGIN lines only": lambda: head(PLAIN) + BEGIN * (SIZE // len(BEGIN)),
    "lines that nearly begin": lambda: head(PLAIN) + (BEGIN.strip() + b"x\n") * (SIZE // len(BEGIN)),
    "lines that nearly begin a signature": lambda: _clear(b"-----BEGIN PGP SIGNATURE-----x\n" * (SIZE // 31)),
    "an endless armour": lambda: _clear(b"x", BLOCK[:31] + b"A" * SIZE),
    "a thousand signatures": lambda: _clear(b"x", _armor(_packet() * 1000)),
    "ten thousand signatures": lambda: mail(signed(text_part(), _armor(_packet() * 10000), micalg="")),
    "a packet of 4 GiB": lambda: _clear(b"x", _armor(b"\xc2\xff\xff\xff\xff\xff" + b"A" * 99)),
    "packets in pieces": lambda: _clear(b"x", _armor(b"\xc2\xf0" + b"A" * 0x10000 + b"\xf0")),
    "a decompression bomb for a signature": lambda: _clear(b"x", _armor(_bomb())),
    "a decompression bomb beside one": lambda: _clear(b"x", _armor(_packet() + _bomb())),
    "a decompression bomb as a signed message": lambda: head(PLAIN) + _armor(_bomb()).replace(b"SIGNATURE", b"MESSAGE") + b"BEGIN PGP SIGN",
    "compressed data": lambda: _clear(b"x", _armor(b"\xa3\x02" + b"A" * 99)),
    "a hundred thousand fields": lambda: b"X: y\n" * 100_000 + CLEAR,
    "a field of 10 MiB": lambda: b"X: " + b"y" * SIZE + b"\n" + CLEAR,
    "a folded field of 10 MiB": lambda: b"X: " + b"\n y" * (SIZE // 3) + b"\n" + CLEAR,
    "a field name of 10 MiB": lambda: b"Content-Type" + b" " * SIZE + b"\n\nBEGIN PGP SIGN",
    "endless parameters": lambda: _type(b"; a=b" * (SIZE // 5)),
    "an endless quoted string": lambda: _type(b'; a="' + b"\\a" * (SIZE // 2)),
    "quotes": lambda: _type(b'; a="' * (SIZE // 5)),
    "semicolons": lambda: _type(b";" * SIZE),
    "boundaries only": lambda: mail(MIXED + b"--a\n" * (SIZE // 4) + b"BEGIN PGP SIGN"),
    "boundary lookalikes": lambda: mail(MIXED + b"--ab\n" * (SIZE // 5) + b"BEGIN PGP SIGN"),
    "an endless boundary line": lambda: mail(MIXED + b"--a" + b" " * SIZE + b"\n\nBEGIN PGP SIGN"),
    "15 levels round 10 MiB": lambda: _deep(15, text_part(b"x\n" * (SIZE // 3) + b"BEGIN PGP SIGN")),
    "2,000 levels": lambda: _deep(2000, text_part(b"BEGIN PGP SIGN")),
    "base64": lambda: head(PLAIN, "Content-Transfer-Encoding: base64") + b"QUFB" * (SIZE // 4) + b"\nBEGIN PGP SIGN",
    "a quoted-printable": lambda: head(PLAIN, "Content-Transfer-Encoding: quoted-printable") + b"=3D" * (SIZE // 3) + b"\nBEGIN PGP SIGN",
    "eight signatures over 10 MiB of mixed line ends": lambda: mail(signed(text_part(b"x\n" * (SIZE // 2)), _armor(_packet() * 8))) + b"\n",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_judged_in_bounded_memory(name: str) -> None:
    """None of it raises or is good by what it holds; at most 150 MiB are used besides the mail itself."""
    raw = HOSTILE[name]()
    tracemalloc.start()
    try:
        found = verify(raw, RECEIVED, KEYS)
        may_be_signed(b"", raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150 << 20
    if found is not None:
        assert len(found.signatures) <= MAX_SIGNATURES
        assert found.signed is None or "field" in name, "the signed mail behind a long header may hold, and nothing else here"


_TOKENS = [
    b"\n", b"\r\n", b"\r", b" ", b"\0", b"-", b"=", b":", b";", b'"', b"\\", b"a", b"\xff", b"--b\n", b"--b--\n", b"affects postroom\n",
    b'Content-Type: multipart/signed; boundary=b; protocol="application/pgp-signature"\n\n',
    b"Content-Type: application/pgp-signature\n\n", b"Content-Type: multipart/mixed; boundary=b\n\n",
    b"Content-Type: text/plain; charset=utf-7\n", b"Content-Type: message/rfc822\n\n", b"Content-Transfer-Encoding: base64\n\n",
    b"Content-Transfer-Encoding: quoted-printable\n\n", b"-----BEGIN PGP SIGNATURE-----\n\n", b"-----END PGP SIGNATURE-----\n",
    BEGIN, b"Hash: SHA512\n", BLOCK, b"LS0tLS1CRUdJTiBQR1AgU0lHTkVEIE1FU1NBR0UtLS0tLQo=", _armor(b"\xc2\x05\x04\x00\x01\x08\x00"),
]  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(_TOKENS) | st.binary(max_size=8), max_size=40).map(b"".join))
def test_no_bytes_raise(raw: bytes) -> None:
    """Any jumble of what mails are made of gives a verification or nothing, and none that holds."""
    found = verify(raw, RECEIVED, KEYS)
    assert found is None or found.signed is None
    may_be_signed(raw, raw, raw)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.integers(0, 0xFFFFFFFF))
def test_no_signature_packet_raises(body: bytes, length: int) -> None:
    """Any bytes as a packet, and any length in its header, are a damaged signature at worst."""
    for packet in (body, b"\xc2\xff" + length.to_bytes(4, "big") + body, b"\xc2" + bytes((len(body) % 192,)) + b"\x04" + body):
        found = verify(_clear(b"x", _armor(packet)), RECEIVED, KEYS)
        assert found is not None
        assert found.signed is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["", "1", "2.3", "99"]), st.integers(0, 300), st.integers(0, 300))
def test_no_range_makes_the_signed_text_raise(raw: bytes, decoded: bool, part: str, start: int, end: int) -> None:
    """A range that does not belong to the mail (a record that was damaged) gives some text, or none."""
    forms: tuple[Form, ...] = ("clear", "mime")
    for form in forms:
        signed_text(raw, SignedRange(form, part, decoded, start, end, "no-charset"))
