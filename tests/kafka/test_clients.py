"""Brokers that are not there, settings that cannot be, and secrets that stay so. Needs no broker."""

import logging
import subprocess
import sys
from collections.abc import Callable

import pytest

from streams.errors import Fatal, Transient
from streams.kafka import KafkaLog
from streams.log import TopicSpec
from streams.record import Draft
from tests.kafka.conftest import Opened

NOBODY = "127.0.0.1:1"
"""A port on which no broker can be."""


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.append([Draft("t", None, b"one")]),
        lambda log: log.create([TopicSpec("t", 1)]),
        lambda log: log.consumer("g", ["t"]),
        lambda log: log.id,
    ],
    ids=["append", "create", "consumer", "id"],
)
def test_a_broker_that_is_absent_is_named(opened: Opened, call: Callable[[KafkaLog], object]) -> None:
    with pytest.raises(Transient) as caught:
        call(opened(bootstrap=NOBODY))
    assert NOBODY in str(caught.value)
    assert "Connection refused" in str(caught.value)


def test_a_host_that_does_not_exist_is_named(opened: Opened) -> None:
    with pytest.raises(Transient, match=r"nobody\.invalid"):
        opened(bootstrap="nobody.invalid:9092").topics()


@pytest.mark.parametrize(
    ("key", "value"),
    [("isolation.level", "read_uncommitted"), ("acks", "1"), ("group.id", "x"), ("transactional.id", "x"), ("auto.offset.reset", "latest")],
)
def test_a_setting_that_the_log_relies_on_cannot_be_set(key: str, value: str) -> None:
    with pytest.raises(Fatal, match=rf"\[log\.kafka\] {key}"):
        KafkaLog(NOBODY, config={key: value})


def test_a_setting_that_librdkafka_does_not_know_is_named() -> None:
    with pytest.raises(Fatal, match=r"\[log\.kafka\].*retention\.of\.what"):
        KafkaLog(NOBODY, config={"retention.of.what": "1"})


def test_any_other_setting_reaches_librdkafka() -> None:
    KafkaLog(
        NOBODY, config={"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p"}
    ).close()
    with pytest.raises(Fatal, match=r"ssl\.ca\.location"):
        KafkaLog(NOBODY, config={"security.protocol": "ssl", "ssl.ca.location": "/nowhere/ca.pem"})


def test_nothing_is_written_to_the_terminal_but_by_logging() -> None:
    program = f"""
import logging
logging.getLogger().addHandler(logging.NullHandler())
from streams.errors import Transient
from streams.kafka import KafkaLog
from streams.record import Draft
try:
    KafkaLog("{NOBODY}").append([Draft("t", None, b"")])
except Transient:
    pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_log_line_that_is_said_again_and_again_passes_once_and_no_secret_does(caplog: pytest.LogCaptureFixture) -> None:
    config = {"sasl.password": "hunter2", "ssl.key.password": "opensesame", "sasl.username": "u"}
    clients = KafkaLog(NOBODY, config=config)._clients
    with caplog.at_level(logging.INFO):
        for port in range(5):
            clients._logger.warning("FAIL [client#1] port %d refused hunter2 and opensesame", port)
    assert [record.getMessage() for record in caplog.records] == ["FAIL [client#1] port 0 refused *** and ***"]
