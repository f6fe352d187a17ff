"""The accounts file: what is wrong with it, in words that say what to write."""

from pathlib import Path

import pytest

from postroom.directory.entries import read_accounts
from postroom.settings import SettingsError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[account]\nid = "ada"', "account: this is a list: write a table [[account]], in two brackets, for each"),
        ('[[account]]\nid = "ada"\naddresses = "a@x.org"', 'account 1, addresses: this is a list: write ["ada@example.org"]'),
        ('[[account]]\nid = "ada"\nfingerprints = "AB"', 'account 1, fingerprints: this is a list: write ["…"]'),
    ],
)
def test_a_list_that_is_none_is_told_how_to_write_it(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        read_accounts(file)
    assert str(raised.value) == f"{file}: {words}"
