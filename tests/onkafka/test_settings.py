"""[log.kafka] as files and the environment give it."""

from pathlib import Path

import pytest

from postroom.settings import SettingsError, load


def test_keys_need_no_quotes_and_the_environment_adds_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "postroom.toml"
    file.write_text('[log.kafka]\nsasl.username = "u"\n"sasl.mechanism" = "PLAIN"\nsocket.keepalive.enable = true\n')
    monkeypatch.setenv("POSTROOM_LOG__KAFKA", '{"sasl.password": "p"}')
    assert load(file).settings.log.kafka == {
        "sasl.username": "u",
        "sasl.mechanism": "PLAIN",
        "socket.keepalive.enable": True,
        "sasl.password": "p",
    }


def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "postroom.toml"
    file.write_text('[log]\nurl = "kafka://u:planted@host:9092"\n')
    with pytest.raises(SettingsError, match=r"\[log\] url: .*\[log\.kafka\]") as caught:
        load(file)
    assert "planted" not in str(caught.value)
