"""Sequoia and GnuPG as they are used here: what they are asked, what they agree on, and what happens when GnuPG fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pysequoia
import pytest

from tests.openpgp.conftest import CASES, KEYS, keyring, need_gpg
from topology.facts import to_ms
from topology.openpgp import Keyring, Verification, find, forms, gnupg, signed_text, verify
from topology.openpgp.packets import read_packet, signature_packets, unsupported

RECEIVED = to_ms("2026-01-10T12:05:00Z")
BRAINPOOL = Path(CASES, "65-brainpool.eml").read_bytes()
ED25519 = Path(CASES, "01-clear.eml").read_bytes()


def _packets() -> list[bytes]:
    found = []
    for path in sorted(CASES.glob("*.eml")):
        raw = path.read_bytes()
        try:
            place = find.find(raw)
            if place is not None:
                found += list(signature_packets(forms.read(raw, place).packets))
        except Exception:
            continue
    return found


def test_we_read_signature_packets_as_sequoia_does() -> None:
    """Version, type, algorithms, times and issuers of every signature of the cases, beside pysequoia's own reading."""
    bodies = [body for body in _packets() if not unsupported(body)]
    assert len(bodies) > 60
    for body in bodies:
        mine = read_packet(body)
        theirs = pysequoia.Sig.from_bytes(mine.packet)
        assert mine.version == theirs.version
        assert theirs.created is not None
        assert mine.created == int(theirs.created.timestamp())
        assert mine.expires == (int(theirs.expiration.timestamp()) if theirs.expiration else None)
        assert mine.issuer == (theirs.issuer_fingerprint.upper() if theirs.issuer_fingerprint else None)
        if mine.issuer_id:
            assert mine.issuer_id == (theirs.issuer_key_id or "").upper()


WITNESSED = [path for path in sorted(CASES.glob("*.eml")) if 1 <= int(path.stem.split("-")[0]) <= 15 and "two-signatures" not in path.stem]
"""Good clear-signed mails by one key, but for 16, whose signer breaks the RFC."""


@pytest.mark.parametrize("path", WITNESSED, ids=lambda path: path.stem)
def test_gpg_agrees_on_the_clear_signed_cases(path: Path, tmp_path: Path) -> None:
    """Real gpg, given the frame as it stands in the mail, reads the same text out of it as we do."""
    need_gpg()
    raw = path.read_bytes()
    found, place = verify(raw, RECEIVED, keyring()), find.find(raw)
    assert found is not None
    assert found.signed is not None
    assert place is not None
    frame = place.text[place.at : place.text.index(b"-----END PGP SIGNATURE-----") + 29]
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--no-autostart", "--trust-model=always"]
    subprocess.run([*gpg, "--quiet", "--import", str(KEYS / "ed25519.asc")], check=True, capture_output=True)
    done = subprocess.run([*gpg, "--decrypt"], input=frame, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.rstrip() for line in done.stdout.decode(found.signed.charset or "utf-8").splitlines()]
    assert lines == signed_text(raw, found.signed).split("\n")


def test_the_same_mail_gives_the_same_fact() -> None:
    """Judged twice, and with a keyring built anew in another order: equal to the last field, whichever engine."""
    need_gpg()
    sources = [(path.stem, path.read_bytes()) for path in KEYS.glob("*.asc")]
    one, other = Keyring.of(sources), Keyring.of(reversed(sources))
    for name in ("01-clear", "56-signed-ahead", "58-expires-later", "67-sha1-bound-retired-since"):
        raw = Path(CASES, f"{name}.eml").read_bytes()
        assert verify(raw, RECEIVED, one) == verify(raw, RECEIVED, one) == verify(raw, RECEIVED, other)


def test_gnupg_is_not_started_for_what_sequoia_judges(tmp_path: Path) -> None:
    """Good, changed, unknown, expired and revoked: no home is made for any of them."""
    keys = Keyring.of([(path.stem, path.read_bytes()) for path in KEYS.glob("*.asc") if path.stem != "stranger"], tmp_path)
    for name in ("01-clear", "70-clear-changed", "54-unknown-key", "46-expired", "48-superseded", "50-compromised", "60-dsa", "69-md5"):
        assert verify(Path(CASES, f"{name}.eml").read_bytes(), RECEIVED, keys)
    assert list(tmp_path.iterdir()) == []


def _of_brainpool(parent: Path) -> Verification:
    keys = Keyring.of([("brainpool", (KEYS / "brainpool.asc").read_bytes()), ("ed25519", (KEYS / "ed25519.asc").read_bytes())], parent)
    found = verify(BRAINPOOL, RECEIVED, keys)
    good = verify(ED25519, RECEIVED, keys)
    assert good is not None
    assert good.signatures[0].verdict == "good"
    assert found is not None
    return found


def test_without_gpg_a_signature_that_needs_it_is_unjudged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what to install, the mail counts as unsigned, and Sequoia's signatures go on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = _of_brainpool(tmp_path)
    assert [signature.verdict for signature in found.signatures] == ["unjudged"]
    assert found.signed is None
    assert "install GnuPG" in caplog.text


def test_a_gpg_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A program named gpg that hangs while it verifies does not hold the stage up."""
    need_gpg()
    real = os.environ["PATH"]
    programs, homes = tmp_path / "programs", tmp_path / "homes"
    for folder in (programs, homes):
        folder.mkdir()
    script = programs / "gpg"
    script.write_text(f'#!/bin/sh\ncase "$*" in *--verify*) exec sleep 600;; esac\nPATH={real} exec gpg "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{real}")
    monkeypatch.setattr(gnupg, "TIMEOUT", 0.5)
    found = _of_brainpool(homes)
    assert [signature.verdict for signature in found.signatures] == ["unjudged"]
    assert "did not end" in caplog.text


def test_no_agent_and_no_network_program_is_left_behind(tmp_path: Path) -> None:
    """What gpg was run for leaves sockets of no agent, no dirmngr and no trust database that was computed."""
    need_gpg()
    keys = Keyring.of([("brainpool", (KEYS / "brainpool.asc").read_bytes())], tmp_path)
    assert verify(BRAINPOOL, RECEIVED, keys)
    (home,) = tmp_path.iterdir()
    names = {path.name for path in home.rglob("*")}
    assert names
    assert not [name for name in names if name.startswith("S.") or "dirmngr" in name]


def test_a_home_that_was_tidied_away_is_made_again(tmp_path: Path) -> None:
    """Systems delete temporary files that are ten days old; a worker runs for months."""
    need_gpg()
    keys = Keyring.of([("brainpool", (KEYS / "brainpool.asc").read_bytes())], tmp_path)
    before = verify(BRAINPOOL, RECEIVED, keys)
    (home,) = tmp_path.iterdir()
    (home / "pubring.kbx").unlink()
    assert verify(BRAINPOOL, RECEIVED, keys) == before
    (home,) = tmp_path.iterdir()
    shutil.rmtree(home)
    assert verify(BRAINPOOL, RECEIVED, keys) == before


def test_gnupg_judges_a_mail_of_10_mib(tmp_path: Path) -> None:
    """Also one that it refuses before it has read all of it."""
    need_gpg()
    keys = Keyring.of([("brainpool", (KEYS / "brainpool.asc").read_bytes())], tmp_path)
    (fingerprint,) = keys.fingerprints()
    certificates = [key.certificate for key in keys.named(fingerprint, None)]
    place = find.find(BRAINPOOL)
    assert place is not None
    signature = read_packet(next(signature_packets(forms.read(BRAINPOOL, place).packets)))
    for packet, said in ((signature.packet, "bad"), (b"\xc2\x03\x04\x00\x00", "refused")):
        assert keys.gnupg.check(b"x" * (10 << 20), packet, signature.created, certificates).said == said
