"""Values of settings as people write them: durations, sizes, times, addresses, patterns; what is none says what to write instead."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr

from topology.address import domain_key
from topology.address import key as address_key
from topology.facts import rfc3339

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = 36_525 * 86_400
"""Seconds: a hundred years. What is longer is a slip, and beyond what times are computed with."""
_LARGEST = 10**18
"""Octets: a thousand million GB. What is more is a slip, and beyond what files and brokers count with."""
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def seconds(value: Any) -> float:
    """A duration: a number of seconds, or a text such as 30s, 10m, 24h, 7d; at most a hundred years. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return _bounded(value, value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)?\s*", str(value))
    if not match:
        raise ValueError(f"{value!r} is no duration: write seconds, or 30s, 10m, 24h, 7d")
    return _bounded(float(match[1]) * _UNITS[match[2] or "s"], value)


def _bounded(duration: float, value: Any) -> float:
    if duration > _LONGEST:
        raise ValueError(f"{value!r} is too long: write a duration of 0 to 36525d, which is a hundred years")
    return float(duration)


def seconds_or_off(value: Any) -> float | None:
    """As `seconds`; None for "off"."""
    try:
        return None if value in ("off", None) else seconds(value)
    except ValueError as error:
        raise ValueError(f'{error}; or write "off"') from None


def instant(value: Any) -> str | None:
    """A time with its zone, as TOML or RFC 3339 writes it, in UTC with milliseconds. Raises ValueError."""
    if value in ("", None):
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no time: write 2026-03-02T10:00:00Z") from None
    if time.tzinfo is None:
        raise ValueError(f"{value} has no time zone: write {time.isoformat()}Z for UTC")
    return rfc3339(round(time.timestamp() * 1000))


def octets(value: Any) -> int:
    """A size: a number of octets, or a text such as 500MB, 10MiB; at most 1000000000GB. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return int(_counted(value, value))
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b?)\s*", str(value).lower())
    if not match or match[2] not in _SIZES:
        raise ValueError(f"{value!r} is no size: write octets, or 512KiB, 10MiB, 500MB")
    return int(_counted(float(match[1]) * _SIZES[match[2]], value))


def _counted(size: float, value: Any) -> float:
    if size > _LARGEST:
        raise ValueError(f"{value!r} is too large: write a size of 0 to 1000000000GB")
    return size


def _domain(value: str) -> str:
    if value == "*":
        return value
    bare = value.removeprefix("*.")
    compared = domain_key(bare)
    if compared is None:
        raise ValueError(f"{value!r} is no domain: write example.org, *.example.org or *")
    return value[: len(value) - len(bare)] + compared


def _address(value: str) -> str:
    if address_key(value) is None:
        raise ValueError(f"{value!r} is no mail address: write name@example.org")
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", value):
        raise ValueError(f"{value!r} is no prefix: write 1 to 100 letters, digits, dots, - and _")
    return value


def _field_name(value: str) -> str:
    if not re.fullmatch(r"[!-9;-~]+", value):
        raise ValueError(f"{value!r} is no name of a header field: write it without blanks and without the colon, such as X-Original-To")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from error
    return value


def _database(value: SecretStr) -> SecretStr:
    from handlers.connection import fault  # psycopg2 loads only where it is used

    if why := fault(value.get_secret_value()):
        raise ValueError(why)
    return value


def _account_query(value: str) -> str:
    if "%(addresses)s" not in value:
        raise ValueError("it must say %(addresses)s, where the addresses of a batch go: … WHERE address = ANY(%(addresses)s)")
    try:
        value % {"addresses": ""}
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError("it may say no %(…)s but %(addresses)s; write %% for a percent sign") from error
    return value


Seconds = Annotated[float, BeforeValidator(seconds)]
SecondsOrOff = Annotated[float | None, BeforeValidator(seconds_or_off)]
Octets = Annotated[int, BeforeValidator(octets)]
Instant = Annotated[str | None, BeforeValidator(instant)]
Domain = Annotated[str, AfterValidator(_domain)]
MailAddress = Annotated[str, AfterValidator(_address)]
Prefix = Annotated[str, AfterValidator(_prefix)]
FieldName = Annotated[str, AfterValidator(_field_name)]
Pattern = Annotated[str, AfterValidator(_pattern)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database)]
AccountQuery = Annotated[str, AfterValidator(_account_query)]
