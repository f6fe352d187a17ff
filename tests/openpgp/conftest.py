"""The keys that the tests hold, read once."""

from pathlib import Path

import pytest

from topology.openpgp import Keyring

FOLDER = Path(__file__).parent
KEYS = FOLDER / "keys"
CASES = FOLDER / "cases"


def keyring(without: tuple[str, ...] = ()) -> Keyring:
    """All public keys of the cases but those of these names."""
    return Keyring.of((path.stem, path.read_bytes()) for path in sorted(KEYS.glob("*.asc")) if path.stem not in without)


@pytest.fixture(scope="session")
def keys() -> Keyring:
    """The keys of the cases, without the stranger's."""
    return keyring(("stranger",))
