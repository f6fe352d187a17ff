"""Every case of tests/openpgp/cases: the mail, judged with its keys at its receive time, gives the fact that stands beside it."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.openpgp.conftest import CASES, KEYS, keyring, need_gpg
from topology.facts import to_ms
from topology.openpgp import Keyring, Signature, may_be_signed, signed_text, verify

NAMES = sorted(path.stem for path in CASES.glob("*.eml"))


@cache
def _held(without: tuple[str, ...]) -> Keyring:
    return keyring(without)


@cache
def _fingerprint(name: str) -> str:
    (fingerprint,) = Keyring.of([(name, (KEYS / f"{name}.asc").read_bytes())]).fingerprints()
    return fingerprint


def _read(name: str) -> tuple[bytes, dict[str, Any]]:
    return Path(CASES, f"{name}.eml").read_bytes(), tomllib.loads(Path(CASES, f"{name}.toml").read_text(encoding="utf-8"))


def _seen(signature: Signature, expected: dict[str, Any]) -> dict[str, Any]:
    """The signature as a case writes it."""
    seen = {"verdict": signature.verdict, "engine": signature.engine, "created_at": signature.created_at, "legacy": signature.legacy}
    if signature.fingerprint:
        seen["key"] = expected.get("key") if signature.fingerprint == _fingerprint(expected.get("key", "")) else signature.fingerprint
    return {name: value for name, value in seen.items() if value is not None}


@pytest.mark.parametrize("name", NAMES)
def test_the_case_gives_its_fact(name: str) -> None:
    """Verdict, key, engine, time and range are those of the case; a refusal says why, and nothing of it is longer than evidence may be."""
    raw, case = _read(name)
    if any(signature.get("engine") == "gnupg" for signature in case.get("signature", [])):
        need_gpg()
    found = verify(raw, to_ms(case["received_at"]), _held(tuple(case["without"])))
    if "signature" not in case:
        assert found is None
        return
    assert found is not None
    assert found.form == case["form"]
    assert [_seen(*pair) for pair in zip(found.signatures, case["signature"], strict=True)] == case["signature"]
    assert all(signature.reason for signature in found.signatures if signature.verdict != "good" or signature.legacy)
    assert (found.signed.part if found.signed else None) == case.get("part")
    assert (signed_text(raw, found.signed) if found.signed else None) == case.get("text")
    assert max(len(signature.reason) for signature in found.signatures) < 400
    assert orjson.loads(orjson.dumps(found.evidence())) == orjson.loads(orjson.dumps(found))


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_that_verifies_passes_the_cheap_question(name: str) -> None:
    """Whatever verify would find, may_be_signed has not ruled out, with the header fields and without."""
    raw, case = _read(name)
    if "signature" not in case:
        return
    header = raw.split(b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n", 1)[0].replace(b"\r\n", b"\n").replace(b"\n\t", b" ")
    fields = {key.lower(): value for key, _, value in (line.partition(b":") for line in header.split(b"\n"))}
    assert may_be_signed(None, raw)
    assert may_be_signed(fields.get(b"content-type", b""), raw, fields.get(b"content-transfer-encoding", b""))


def test_every_case_says_in_two_sentences_what_it_proves() -> None:
    """A case is there for a reason, and its number is its own."""
    assert len(NAMES) >= 90
    assert len({name.split("-")[0] for name in NAMES}) == len(NAMES)
    for name in NAMES:
        assert len(re.findall(r"[.:;](?= |$)", _read(name)[1]["shows"])) >= 2, name
