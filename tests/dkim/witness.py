"""dkimpy as a witness: which signatures of a mail pass in its eyes, at a given time, with given DNS."""

from collections.abc import Mapping
from types import SimpleNamespace
from unittest import mock

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from topology.answers import Answer, Evidence
from topology.dkim import tags


class _KeyError(Exception):
    pass


class _BadSignatureError(Exception):
    pass


class _VerifyKey:
    """The one part of PyNaCl that dkimpy uses, on `cryptography`, so that the tests need no second crypto library: the witness
    is called for what is signed, not for Ed25519 itself."""

    def __init__(self, text: bytes, encoder: object) -> None:
        try:
            self._key = Ed25519PublicKey.from_public_bytes(tags.base64(text.decode()))
        except ValueError as error:
            raise _KeyError from error

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
        except InvalidSignature as error:
            raise _BadSignatureError from error


_NACL = SimpleNamespace(
    signing=SimpleNamespace(VerifyKey=_VerifyKey),
    encoding=SimpleNamespace(Base64Encoder=None),
    exceptions=SimpleNamespace(ValueError=_KeyError, BadSignatureError=_BadSignatureError),
)


def passes(raw: bytes, received_at_ms: int, zone: Mapping[str, Evidence], number: int) -> list[bool]:
    """Whether dkimpy passes each of the first `number` signatures, topmost first. What it raises is no pass."""

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        answer = Answer.from_evidence(zone.get(name.decode().removesuffix(".").lower()))
        if answer.status == "temperror":
            raise dkim.DnsTimeoutError
        value = zone.get(name.decode().removesuffix(".").lower()) or None
        first = value[0] if isinstance(value, list) else value
        return first.encode() if first and answer.status != "permerror" else None

    clock = SimpleNamespace(time=lambda: received_at_ms / 1000)
    with mock.patch.object(dkim, "time", clock), mock.patch.object(dkim, "nacl", _NACL, create=True):
        return [_passes(raw, place, txt) for place in range(number)]


def _passes(raw: bytes, place: int, txt: object) -> bool:
    try:
        return bool(dkim.DKIM(raw).verify(idx=place, dnsfunc=txt))
    except Exception:
        return False
