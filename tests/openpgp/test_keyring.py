"""The keyring: what it takes, what it refuses in words, and when it reads its folder again."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pysequoia
import pytest

from streams.faults import Hold
from tests.openpgp.conftest import CASES, KEYS, keyring, need_gpg
from topology.facts import to_ms
from topology.openpgp import Keyring, KeyringError, verify
from topology.openpgp.sequoia import Certificate
from topology.openpgp.sources import certificates

RECEIVED = to_ms("2026-01-10T12:05:00Z")
CLEAR = Path(CASES, "01-clear.eml").read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one key."""
    shutil.copy(KEYS / "ed25519.asc", tmp_path)
    return tmp_path


def _verdict(keys: Keyring) -> str:
    found = verify(CLEAR, RECEIVED, keys)
    assert found is not None
    return found.signatures[0].verdict


def test_a_folder_of_armoured_and_binary_keys_is_loaded_and_other_files_are_left_alone(folder: Path) -> None:
    (folder / "RSA.GPG").write_bytes(bytes(pysequoia.Cert.from_file(str(KEYS / "rsa.asc"))))
    (folder / "README.txt").write_text("keys of the staff")
    (folder / "folder.asc").mkdir()
    keys = Keyring.load(folder)
    assert (
        keys.fingerprints()
        == Keyring.of([("a", (KEYS / "rsa.asc").read_bytes()), ("b", (KEYS / "ed25519.asc").read_bytes())]).fingerprints()
    )
    assert _verdict(keys) == "good"


def test_an_empty_folder_is_a_keyring_that_knows_nobody(tmp_path: Path) -> None:
    assert _verdict(Keyring.load(tmp_path)) == "unknown-key"


def test_several_blocks_in_one_file_are_all_read() -> None:
    """People write `cat a.asc b.asc > keys.asc`, and mail programs put words between."""
    both = b"Here are our keys:\n" + (KEYS / "rsa.asc").read_bytes() + b"\nand\n" + (KEYS / "ed25519.asc").read_bytes()
    assert len(Keyring.of([("both", both)]).fingerprints()) == 2


def test_two_copies_of_a_certificate_are_merged() -> None:
    """An old copy beside one with a revocation does not hide the revocation."""
    old = (KEYS / "secret" / "compromised.asc").read_text()
    public = str(pysequoia.Tsk.from_bytes(old.encode()).extract_certificate()).encode()
    new = (KEYS / "compromised.asc").read_bytes()
    raw = Path(CASES, "50-compromised.eml").read_bytes()
    for sources in ([("old", public), ("new", new)], [("new", new), ("old", public)]):
        found = verify(raw, to_ms("2021-01-01T12:05:00Z"), Keyring.of(sources))
        assert found is not None
        assert found.signatures[0].verdict == "revoked-key"


def test_a_certificate_is_found_by_each_of_its_keys() -> None:
    """Fingerprints and key ids of the primary key and of subkeys, in any case."""
    keys = Keyring.of([("subkey", (KEYS / "subkey.asc").read_bytes())])
    (fingerprint,) = keys.fingerprints()
    found = verify(Path(CASES, "42-subkey.eml").read_bytes(), RECEIVED, keys)
    assert found is not None
    subkey = found.signatures[0].key
    assert subkey is not None
    assert subkey != fingerprint
    for name in (fingerprint, fingerprint[-16:], subkey, subkey[-16:], subkey.lower()):
        assert keys.find(name) == (fingerprint,)
    assert keys.find("0123456789ABCDEF") == ()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("secret", (KEYS / "secret" / "rsa.asc").read_bytes(), "secret key"),
        ("binary-secret", bytes(pysequoia.Tsk.from_file(str(KEYS / "secret" / "rsa.asc"))), "secret key"),
        ("message", b"-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n", "PGP MESSAGE"),
        ("signature", CLEAR[CLEAR.index(b"-----BEGIN PGP SIGNATURE") :], "PGP SIGNATURE"),
        ("words", b"see attachment", "no OpenPGP public key"),
        ("nothing", b"", "no OpenPGP public key"),
        ("half", (KEYS / "rsa.asc").read_bytes()[:400], "no OpenPGP public key"),
    ],
)
def test_what_is_no_public_key_is_refused_by_name(folder: Path, name: str, content: bytes, words: str) -> None:
    """The error names the file, says what is wrong and what to do."""
    (folder / f"{name}.asc").write_bytes(content)
    with pytest.raises(KeyringError, match=rf"{name}\.asc: .*{words}.*gpg --export"):
        Keyring.load(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="nowhere"):
        Keyring.load(tmp_path / "nowhere")


def test_reload_reads_again_only_what_changed(folder: Path) -> None:
    """A key that comes, changes or goes is seen by the next reload; without a change nothing is read."""
    keys = Keyring.load(folder)
    assert keys.reload() is False
    shutil.copy(KEYS / "rsa.asc", folder)
    assert keys.reload() is True
    assert len(keys.fingerprints()) == 2
    os.replace(folder / "rsa.asc", folder / "ed25519.asc")
    assert keys.reload() is True
    assert _verdict(keys) == "unknown-key"
    shutil.copy(KEYS / "ed25519.asc", folder)
    assert keys.reload() is True
    assert _verdict(keys) == "good"
    assert keys.reload() is False
    assert keyring().reload() is False, "a keyring without a folder never changes"


def test_a_reload_that_fails_keeps_the_keys_and_is_tried_again(folder: Path) -> None:
    """A file may be half written; the keys of before go on until it is whole."""
    keys = Keyring.load(folder)
    whole = (KEYS / "rsa.asc").read_bytes()
    (folder / "rsa.asc").write_bytes(whole[:500])
    for _ in range(2):
        with pytest.raises(KeyringError, match=r"rsa\.asc"):
            keys.reload()
    assert _verdict(keys) == "good"
    (folder / "rsa.asc").write_bytes(whole)
    assert keys.reload() is True
    assert len(keys.fingerprints()) == 2


def test_a_reload_forgets_what_gnupg_knew(tmp_path: Path) -> None:
    """GnuPG's home belongs to one state of the keyring: a key that is gone is gone there too, and the old home is removed."""
    need_gpg()
    keys, homes = tmp_path / "keys", tmp_path / "homes"
    for path in (keys, homes):
        path.mkdir()
    shutil.copy(KEYS / "brainpool.asc", keys)
    held = Keyring.load(keys, homes)
    raw = Path(CASES, "65-brainpool.eml").read_bytes()
    assert list(homes.iterdir()) == []
    found = verify(raw, RECEIVED, held)
    assert found is not None
    assert found.signatures[0].engine == "gnupg"
    (home,) = homes.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700
    shutil.copy(KEYS / "ed25519.asc", keys / "brainpool.asc")
    assert held.reload() is True
    gc.collect()
    assert list(homes.iterdir()) == []
    found = verify(raw, RECEIVED, held)
    assert found is not None
    assert found.signatures[0].verdict == "unknown-key"


class Table:
    """Keys from elsewhere. stamp: None before anything is known of them."""

    def __init__(self) -> None:
        self.seen: object = None
        self.names: list[str] = []
        self.fault: Exception | None = None

    def stamp(self) -> object:
        if self.fault:
            raise self.fault
        return self.seen

    def certificates(self) -> Iterator[Certificate]:
        for name in self.names:
            yield from certificates(name, (KEYS / f"{name}.asc").read_bytes())


def test_keys_of_a_folder_and_of_another_source_are_held_together(folder: Path) -> None:
    """The other source is first asked by a reload, and from then on when its stamp is another."""
    keys, table = Keyring.load(folder), Table()
    table.names = ["rsa"]
    keys.watch(table)
    assert keys.reload() is False, "it has no stamp yet"
    for stamp, names, held in ((1, ["rsa"], 2), (2, ["rsa", "subkey"], 3), (3, ["ed25519"], 1)):
        table.seen, table.names = stamp, names
        assert keys.reload() is True
        assert len(keys.fingerprints()) == held
        assert _verdict(keys) == "good"
    assert keys.reload() is False


@pytest.mark.parametrize("fault", [Hold("accounts", "away"), KeyringError("row 1: is no public key")])
def test_a_source_that_fails_keeps_no_other_from_being_read(folder: Path, fault: Exception) -> None:
    keys, table = Keyring.load(folder), Table()
    keys.watch(table)
    table.seen, table.names = 1, ["rsa"]
    keys.reload()
    table.fault = fault
    shutil.copy(KEYS / "subkey.asc", folder)
    with pytest.raises(type(fault)):
        keys.reload()
    assert len(keys.fingerprints()) == 3


def test_of_two_faults_the_one_to_wait_for_counts(folder: Path) -> None:
    keys, table = Keyring.load(folder), Table()
    keys.watch(table)
    table.fault = Hold("accounts", "away")
    (folder / "half.asc").write_bytes(b"half")
    with pytest.raises(Hold):
        keys.reload()
