"""The keys that the tests hold, read once."""

import os
import shutil
from pathlib import Path

import pytest

from topology.openpgp import Keyring

FOLDER = Path(__file__).parent
KEYS = FOLDER / "keys"
CASES = FOLDER / "cases"


def keyring(without: tuple[str, ...] = ()) -> Keyring:
    """All public keys of the cases but those of these names."""
    return Keyring.of((path.stem, path.read_bytes()) for path in sorted(KEYS.glob("*.asc")) if path.stem not in without)


def need_gpg() -> None:
    """Skips the test where gpg is not installed; on CI it fails."""
    if shutil.which("gpg") is None:
        word = "gpg is not installed (Debian: apt install gpg)"
        if os.environ.get("CI"):
            pytest.fail(word)
        pytest.skip(word)
