"""No change to a signed mail is good unless what is signed stays what it was (RFC 9580 sections 7.1 and 7.2, RFC 3156 section 5).

The two forms that must stay are written here a second time, line by line, so that one mistake cannot hide in both.
"""

import email
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.openpgp.conftest import CASES, keyring
from topology.facts import to_ms
from topology.openpgp import SignedRange, signed_text, verify
from topology.openpgp.mime import decode, part_at

KEYS = keyring(("stranger",))
RECEIVED = to_ms("2026-01-10T12:05:00Z")
SIGNED = [
    "01-clear", "02-clear-lf", "05-clear-dash-escapes", "06-clear-quoted-printable", "07-clear-base64", "08-clear-text-round-it",
    "11-clear-alternative", "20-mime", "21-mime-lf", "23-mime-folded-header", "24-mime-trailing-blanks", "25-mime-with-list-footer",
    "30-mime-base64-text", "32-mime-text-signature",
]  # fmt: skip

_PIECES = [
    b"\r", b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"\x00", b"\x0b", b"\x0c", b"- ", b"-", b"--", b"=\r\n", b"=0A", b"=20", b">",
    b"Hash: SHA512\n", b"Hash: SHA512\r\n", b"Comment: x\n", b"-----BEGIN PGP SIGNED MESSAGE-----\n", b"-----BEGIN PGP SIGNATURE-----\n",
    b"-----END PGP SIGNATURE-----\n", b"--=_signed\r\n", b"--=_signed--\r\n", b"--=_part\r\n", b"\r--=_signed\r",
    b"Content-Type: text/plain\r\n", b"Content-Transfer-Encoding: base64\r\n", b"status invalid\r\n", b'; boundary="x"', b"\xef\xbb\xbf",
]  # fmt: skip


def _canonical(raw: bytes, signed: SignedRange) -> list[bytes]:
    """What is signed, with all that may differ made equal."""
    if signed.form == "mime":
        lines = raw[signed.start : signed.end].replace(b"\r\n", b"\n").split(b"\n")
        return lines[:-1] if lines[-1] == b"" else lines
    body = decode(raw, part_at(raw, signed.part)) if signed.decoded else raw
    lines = body[signed.start : signed.end].split(b"\n")
    return [line.removeprefix(b"- ").rstrip(b" \t\r") for line in lines]


def _first_shown(raw: bytes, *, escaped: bool) -> str:
    """The first text of the mail that is not blank, as the standard library's parser finds it: another reader than ours."""
    for part in email.message_from_bytes(raw).walk():
        if part.is_multipart():
            continue
        encoding = part.get("Content-Transfer-Encoding", "").strip()  # a folded one keeps its line end, and is not known then
        del part["Content-Transfer-Encoding"]
        part["Content-Transfer-Encoding"] = encoding
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        if payload.strip():
            lines = payload.decode("utf-8", "replace").replace("\r", "\n").split("\n")
            return _lines([line.removeprefix("- ") for line in lines] if escaped else lines)
    return ""


def _lines(lines: list[str]) -> str:
    """Without empty lines and blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in lines if line.rstrip())


@st.composite
def _changes(draw: st.DrawFn, raw: bytes) -> bytes:
    """The mail with one to four changes: bytes or telling pieces put in, taken out, exchanged, doubled or moved."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + draw(st.sampled_from([0, 1, 2, 5, 80, 400])))))
        piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=3))
        kind = draw(st.sampled_from(["replace", "insert", "double", "move", "swap"]))
        if kind == "replace":
            raw = raw[:at] + piece + raw[end:]
        elif kind == "insert":
            raw = raw[:at] + piece + raw[at:]
        elif kind == "double":
            raw = raw[:end] + raw[at:end] + raw[end:]
        elif kind == "move":
            to = draw(st.integers(0, len(raw)))
            rest = raw[:at] + raw[end:]
            raw = rest[:to] + raw[at:end] + rest[to:]
        else:
            old = draw(st.sampled_from([b"\r\n", b"\n", b" ", b"- ", b"a", b"confirmed"]))
            raw = raw.replace(old, piece, draw(st.sampled_from([1, 3, -1])))
    return raw


@pytest.mark.parametrize("name", SIGNED)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_changed_mail_is_good_only_with_the_same_signed_form(name: str, data: st.DataObject) -> None:
    raw = Path(CASES, f"{name}.eml").read_bytes()
    original = verify(raw, RECEIVED, KEYS)
    assert original is not None
    assert original.signed is not None
    changed = data.draw(_changes(raw))
    found = verify(changed, RECEIVED, KEYS)
    if found is not None and found.signed is not None:
        assert _canonical(changed, found.signed) == _canonical(raw, original.signed)
        text = signed_text(changed, found.signed)
        assert "invalid" not in text
        assert _lines(text.split("\n")) in _first_shown(changed, escaped=found.form == "clear")


@pytest.mark.parametrize("name", ["01-clear", "20-mime"])
def test_no_single_byte_of_what_is_signed_can_be_changed(name: str) -> None:
    """Each byte of the signed range is flipped in turn: good only where a blank at a line's end or a line end was hit."""
    raw = Path(CASES, f"{name}.eml").read_bytes()
    original = verify(raw, RECEIVED, KEYS)
    assert original is not None
    assert original.signed is not None
    for at in range(original.signed.start, original.signed.end):
        changed = raw[:at] + bytes((raw[at] ^ 0x01,)) + raw[at + 1 :]
        found = verify(changed, RECEIVED, KEYS)
        if found is not None and found.signed is not None:
            assert _canonical(changed, found.signed) == _canonical(raw, original.signed)


@pytest.mark.parametrize("name", ["01-clear", "20-mime"])
def test_no_byte_of_the_signature_can_be_changed_to_name_another_time_or_key(name: str) -> None:
    """Each base64 character of the block is changed in turn: the fact is never good with another time or certificate."""
    raw = Path(CASES, f"{name}.eml").read_bytes()
    original = verify(raw, RECEIVED, KEYS)
    assert original is not None
    begin = raw.index(b"-----BEGIN PGP SIGNATURE")
    for at in range(begin + 30, raw.index(b"-----END PGP SIGNATURE", begin)):
        changed = raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]
        found = verify(changed, RECEIVED, KEYS)
        if found is not None and found.signed is not None:
            (was,), (now,) = original.signatures, found.signatures
            assert (now.created_at, now.fingerprint) == (was.created_at, was.fingerprint)
