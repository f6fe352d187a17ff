"""How Faust reaches the brokers: the part of [log] and [log.kafka] that it can be given. What else stands there tunes librdkafka, and
does not concern it."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_UNDERSTOOD = frozenset(
    {
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    }
)
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Connection:
    """urls: of brokers. credentials: for `faust.App`, None for none. Times in seconds."""

    urls: tuple[str, ...]
    credentials: Any = field(default=None, repr=False)
    session_timeout: float = 10.0
    heartbeat_interval: float = 1.0
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no log line may show."""


def connection(url: str, config: Mapping[str, str]) -> Connection:
    """url: of the log, kafka://host:port,host:port. config: [log.kafka], by librdkafka's names. Raises ValueError, naming the key, for
    one about security that Faust's client cannot follow: it must not connect with less than was asked for."""
    for key in config:
        if key.startswith(("sasl.", "ssl.", "enable.sasl", "enable.ssl")) and key not in _UNDERSTOOD:
            raise ValueError(f"[log.kafka] {key}: handlers on Faust cannot follow it; leave it out, or their runtime")
    return Connection(
        tuple(f"kafka://{address.strip()}" for address in url.removeprefix("kafka://").rstrip("/").split(",")),
        _credentials(config),
        _seconds(config, "session.timeout.ms", 10_000),
        _seconds(config, "heartbeat.interval.ms", 1_000),
        tuple(config[key] for key in ("sasl.password", "ssl.key.password") if config.get(key)),
    )


def _seconds(config: Mapping[str, str], key: str, default: int) -> float:
    try:
        return int(config.get(key, default)) / 1000
    except ValueError as error:
        raise ValueError(f"[log.kafka] {key}: {config[key]!r} is no number of milliseconds") from error


def _credentials(config: Mapping[str, str]) -> Any:
    import faust

    protocol = config.get("security.protocol", "plaintext").lower()
    if protocol == "plaintext":
        return None
    context = _context(config) if protocol in ("ssl", "sasl_ssl") else None
    if protocol == "ssl":
        return faust.SSLCredentials(context)
    if protocol not in ("sasl_plaintext", "sasl_ssl"):
        raise ValueError(f"[log.kafka] security.protocol: {protocol!r} is none of plaintext, ssl, sasl_plaintext, sasl_ssl")
    mechanism = config.get("sasl.mechanism", config.get("sasl.mechanisms", "GSSAPI")).upper()
    if mechanism not in _MECHANISMS:
        raise ValueError(f"[log.kafka] sasl.mechanism: handlers on Faust know {', '.join(_MECHANISMS)}, not {mechanism}")
    return faust.SASLCredentials(
        username=config.get("sasl.username"), password=config.get("sasl.password"), ssl_context=context, mechanism=mechanism
    )


def _context(config: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.get("ssl.ca.location"))
        context.check_hostname = config.get("ssl.endpoint.identification.algorithm", "https").lower() != "none"
        if certificate := config.get("ssl.certificate.location"):
            context.load_cert_chain(certificate, config.get("ssl.key.location"), config.get("ssl.key.password"))
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"[log.kafka] ssl.ca.location, ssl.certificate.location, ssl.key.location: {error}") from error
    return context
