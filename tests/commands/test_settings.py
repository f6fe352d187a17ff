"""What settings may not say, and the words for it."""

from pathlib import Path

import pytest

from postroom.settings import SettingsError, load


def said(folder: Path, text: str) -> str:
    """The one line that settings are refused with, without the name of their file."""
    file = folder / "postroom.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load(file)
    (line,) = str(raised.value).splitlines()
    return line.removeprefix(f"{file}: ")


@pytest.mark.parametrize("value", ["inf", "1e300", "99999999999", "9" * 400, '"99999999w"', f'"{"9" * 400}"', '"36525.1d"'])
def test_a_duration_has_a_bound(tmp_path: Path, value: str) -> None:
    """Beyond it times cannot be computed with, which a role would find out much later."""
    assert said(tmp_path, f"[log]\ndedupe_window = {value}").endswith(
        "is too long: write a duration of 0 to 36525d, which is a hundred years"
    )
    assert said(tmp_path, f"[log.topics]\nretention = {value}").endswith('which is a hundred years; or write "off"')


@pytest.mark.parametrize("value", ["nan", "-1", "-inf", "true", '"inf"', '"nan"'])
def test_what_is_no_duration_is_told_how_to_write_one(tmp_path: Path, value: str) -> None:
    assert said(tmp_path, f"[log]\ndedupe_window = {value}").endswith("is no duration: write seconds, or 30s, 10m, 24h, 7d")


def test_a_hundred_years_are_a_duration(tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text('[log]\ndedupe_window = "36525d"\n[log.topics]\nretention = "off"')
    log = load(tmp_path / "postroom.toml").settings.log
    assert (log.dedupe_window, log.topics.retention) == (36525 * 86400, None)
