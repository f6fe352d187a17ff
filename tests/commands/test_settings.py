"""What settings may not say, and the words for it."""

from pathlib import Path
from typing import Any

import pytest

from postroom.settings import _LISTS, HandlerSettings, Settings, SettingsError, load


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


@pytest.mark.parametrize("value", ["9" * 400, f'"{"9" * 400}"', f'"{"9" * 400}MB"', '"1000000001GB"'])
def test_a_size_has_a_bound(tmp_path: Path, value: str) -> None:
    """Beyond it nobody can count octets."""
    assert said(tmp_path, f"[ingest]\nmax_size = {value}").endswith("is too large: write a size of 0 to 1000000000GB")


@pytest.mark.parametrize("value", ["nan", "-1", "-inf", "true", '"inf"', '"nan"'])
def test_what_is_no_duration_is_told_how_to_write_one(tmp_path: Path, value: str) -> None:
    assert said(tmp_path, f"[log]\ndedupe_window = {value}").endswith("is no duration: write seconds, or 30s, 10m, 24h, 7d")


def test_a_hundred_years_are_a_duration(tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text('[log]\ndedupe_window = "36525d"\n[log.topics]\nretention = "off"')
    log = load(tmp_path / "postroom.toml").settings.log
    assert (log.dedupe_window, log.topics.retention) == (36525 * 86400, None)


HANDLER = '[handlers.foo]\nuse = "maildir"\npath = "foo/"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HANDLER + 'domains = "foo.com"', '[handlers.foo] domains: this is a list: write ["foo.com"]'),
        (HANDLER + 'domains = ["foo.com"]\nretry_delays = "1m"', '[handlers.foo] retry_delays: this is a list: write ["30s", "5m", "1h"]'),
        (HANDLER + 'domains = ["foo.com"]\nretry_delays = ["1m", "2m"]', "[handlers.foo] retry_delays: the list is too short"),
        (HANDLER + 'domains = ["foo.com"]\nretry_delays = []', "[handlers.foo] retry_delays: the list is too short"),
        (HANDLER + 'domains = ["foo.com"]\nretry_delays = [1, 2, 3, 4]', "[handlers.foo] retry_delays: the list is too long: it takes 3"),
        ('[handlers.foo]\nuse = "maildir"\ndomains = ["foo.com"]', '[handlers.foo]: use = "maildir" needs the key path'),
        (HANDLER + 'domains = ["foo.com", "a b"]', "[handlers.foo] domains: 'a b' is no domain: write example.org, *.example.org or *"),
        (HANDLER.replace('"foo/"', "5") + 'domains = ["foo.com"]', "[handlers.foo] path: this is a path: write it in quotes"),
        ('log = "sqlite:///x"', "[log]: this is a section: write [log], in one pair of brackets, and its keys below"),
        ("[[log]]", "[log]: this is a section: write [log], in one pair of brackets, and its keys below"),
        ("[log]\nkafka = 5", "[log] kafka: this is a section: write [log.kafka], in one pair of brackets, and its keys below"),
        ("handlers.foo = 5", "[handlers.foo]: this is a section: write [handlers.foo], in one pair of brackets, and its keys below"),
        ('[log]\nprefix = "a/b"', "[log] prefix: 'a/b' is no prefix: write 1 to 100 letters, digits, dots, - and _"),
        (
            '[routing]\noriginal_recipient_headers = ["X-A", "X B:"]',
            "[routing] original_recipient_headers: 'X B:' is no name of a header field: "
            "write it without blanks and without the colon, such as X-Original-To",
        ),
        ('[accounts]\nfile = "a\\u0000b"', "[accounts] file: there is a NUL (\\u0000) in it, which nothing takes: write it without"),
        ('[accounts]\nkeys = "a\\u0000b"', "[accounts] keys: there is a NUL (\\u0000) in it, which nothing takes: write it without"),
        (
            HANDLER + 'domains = ["foo.com"]\npause_after = 99999999999999999999999',
            "[handlers.foo] pause_after: Input should be less than or equal to 1000000",
        ),
        ("[log.topics]\npartitions = 4097", "[log] topics: partitions = 4097: a log in SQLite takes up to 4096"),
    ],
)
def test_a_fault_says_what_to_write(tmp_path: Path, text: str, words: str) -> None:
    """In the words of TOML and of mail, and not of the library that finds it."""
    assert said(tmp_path, text) == words


def test_every_list_has_its_example() -> None:
    """A key that is a list, and is written as none, is told how."""
    sections: list[Any] = [HandlerSettings, *(type(getattr(Settings(), name)) for name in Settings.model_fields if name != "handlers")]
    lists = {name for section in sections for name, field in section.model_fields.items() if "tuple" in str(field.annotation)}
    assert lists == set(_LISTS)


def test_as_many_partitions_as_the_log_takes(tmp_path: Path) -> None:
    """Kafka knows no such bound."""
    for log in ("[log]\n[log.topics]\npartitions = 4096", '[log]\nurl = "kafka://a:1"\n[log.topics]\npartitions = 4097'):
        (tmp_path / "postroom.toml").write_text(log)
        load(tmp_path / "postroom.toml")
