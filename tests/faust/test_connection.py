"""How Faust reaches the brokers: what of [log.kafka] it follows, and what it refuses rather than connect with less."""

import ssl
from typing import Any

import pytest

from postroom.faust.connection import connection


def test_without_security_it_is_the_brokers_and_the_session() -> None:
    made = connection("kafka://a:9092,b:9093/", {"session.timeout.ms": "6000", "linger.ms": "5"})
    assert made.urls == ("kafka://a:9092", "kafka://b:9093")
    assert made.credentials is None
    assert (made.session_timeout, made.heartbeat_interval) == (6.0, 1.0)


def test_sasl_and_tls_reach_faust_and_the_password_is_not_shown() -> None:
    made = connection(
        "kafka://a:9092",
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "me", "sasl.password": "hunter2"},
    )
    credentials: Any = made.credentials
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (credentials.username, credentials.password) == ("me", "hunter2")
    assert credentials.ssl_context.verify_mode == ssl.CERT_REQUIRED
    assert credentials.ssl_context.check_hostname
    assert "hunter2" not in repr(made)
    assert made.secrets == ("hunter2",)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"ssl.keystore.location": "x"}, "ssl.keystore.location"),
        ({"enable.ssl.certificate.verification": "false"}, "enable.ssl.certificate.verification"),
        ({"sasl.oauthbearer.config": "x"}, "sasl.oauthbearer.config"),
        ({"security.protocol": "sasl_ssl"}, "GSSAPI"),
        ({"security.protocol": "tls"}, "security.protocol"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/nowhere.pem"}, "ssl.ca.location"),
        ({"session.timeout.ms": "soon"}, "session.timeout.ms"),
    ],
)
def test_what_faust_cannot_follow_is_refused_by_name(config: dict[str, str], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        connection("kafka://a:9092", config)
