"""Settings: one TOML file, every key checked, every error naming the key and the fix.

Paths in it are relative to its folder. Any key can be overridden by the environment: POSTROOM_LOG__URL for `url` in `[log]`.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from postroom.values import (
    AccountQuery,
    DatabaseUrl,
    Domain,
    FieldName,
    Instant,
    MailAddress,
    Octets,
    Pattern,
    Prefix,
    Seconds,
    SecondsOrOff,
)
from topology.screening import DEFAULT_MAX_RECEIVED, rules

ENV_PREFIX = "POSTROOM_"
"""What the name of a variable that overrides a key begins with."""


class SettingsError(Exception):
    """What is wrong with the settings: one line a fault, each naming the file, the key and the fix. Exit status 2."""


def _dotted(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots again, which TOML reads as tables in tables where they are not quoted."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if any("\0" in str(one) for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str | Path)):
            raise ValueError("there is a NUL (\\u0000) in it, which nothing takes: write it without")
        return value


class TopicSettings(_Section):
    """[log.topics]: how topics are created. retention: None for the broker's own."""

    partitions: int = Field(8, ge=1, le=10_000)
    retention: SecondsOrOff = None
    replication: int | None = Field(None, ge=1)
    min_insync_replicas: int | None = Field(None, ge=1)
    max_message_bytes: Octets | None = None


class LogSettings(_Section):
    """[log]"""

    url: str = "sqlite:///postroom.db"
    prefix: Prefix = "mail"
    dedupe_window: Seconds = 86400.0
    kafka: dict[str, str | int | float | bool] = Field(default_factory=dict)
    topics: TopicSettings = TopicSettings()

    @property
    def client(self) -> dict[str, str]:
        """[log.kafka] as librdkafka takes it."""
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in self.kafka.items()}

    @field_validator("kafka", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return dict(_dotted(value)) if isinstance(value, dict) else value

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if "@" in value.partition("://")[2].partition("/")[0]:  # not repeated: it may be a password
            raise ValueError("names and passwords do not go into it: set sasl.username and sasl.password in [log.kafka]")
        if not re.match(r"(?:sqlite:///.|kafka://.)", value):
            raise ValueError(f"{value!r} is no log: write sqlite:///postroom.db or kafka://127.0.0.1:9092")
        for broker in value.removeprefix("kafka://").rstrip("/").split(",") if value.startswith("kafka://") else ():
            host, colon, port = broker.strip().rpartition(":")
            if colon and not broker.endswith("]") and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError(f"{broker!r} is no broker: write host:port, several with commas between them")
        return value

    @field_validator("topics")
    @classmethod
    def _fits(cls, value: TopicSettings, info: ValidationInfo) -> TopicSettings:
        if info.data.get("url", "").startswith("sqlite:///"):
            from streams.sqlite.slots import MAX_PARTITIONS  # the engine loads only where it is used

            if value.partitions > MAX_PARTITIONS:
                raise ValueError(f"partitions = {value.partitions}: a log in SQLite takes up to {MAX_PARTITIONS}")
        return value


class ArchiveSettings(_Section):
    """[archive]"""

    url: str = "file:archive/"
    inline_limit: Octets = 524_288


class IngestSettings(_Section):
    """[ingest]"""

    max_size: Octets = Field(10_485_760, gt=0)
    min_free: Octets = 100_000_000
    lmtp: str | None = "127.0.0.1:8024"
    smtp: str | None = None
    allow_remote: bool = False


class BounceFilterSettings(_Section):
    """[bounce_filter]: each rule's switch, and the Received fields beyond which a mail loops."""

    rules: dict[str, bool] = Field(default_factory=dict)
    max_received: int = Field(DEFAULT_MAX_RECEIVED, ge=1)

    @field_validator("rules")
    @classmethod
    def _rules(cls, value: dict[str, bool]) -> dict[str, bool]:
        if unknown := sorted(value.keys() - rules().keys()):
            raise ValueError(f"no such rule: {', '.join(unknown)}; the rules are {', '.join(rules())}")
        return value


class AccountSettings(_Section):
    """[accounts]. file is not read where postgresql is given."""

    file: Path | None = Path("accounts.toml")
    postgresql: DatabaseUrl | None = None
    query: AccountQuery | None = None
    keys_query: str | None = None
    timeout: Seconds = Field(5.0, gt=0)
    keys: Path | None = None

    @model_validator(mode="after")
    def _together(self) -> "AccountSettings":
        if self.query and not self.postgresql:
            raise ValueError("query is given, but not the database that it goes to: set postgresql, too")
        if self.keys_query and not self.query:
            raise ValueError(
                "keys_query goes with a query onto your own tables; without one the keys are in postroom's own (accounts add-key)"
            )
        return self


class AuthenticationSettings(_Section):
    """[authentication]"""

    trusted_domains: tuple[Domain, ...] = ()
    alignment: Literal["relaxed", "strict"] = "relaxed"
    authserv_id: str = ""
    signature_max_age: SecondsOrOff = 172_800.0
    signature_max_future: SecondsOrOff = 600.0
    dkim_max_age: SecondsOrOff = None
    openpgp_legacy: Literal["weak", "strong", "refuse"] = "weak"
    dns_zone: Path | None = None


class RoutingSettings(_Section):
    """[routing]"""

    original_recipient_headers: tuple[FieldName, ...] = ("X-Original-To",)


class HandlerSettings(_Section):
    """[handlers.<name>]"""

    use: Literal["python", "webhook", "command", "maildir", "tickets"]
    domains: tuple[Domain, ...]
    patterns: tuple[Pattern, ...] = ()
    allow_unknown_senders: bool = False
    require_strong: bool = False
    python: str | None = None
    path: Path | None = None
    command: tuple[str, ...] | None = None
    url: str | None = None
    database: str | None = None
    timeout: Seconds = 60.0
    give_up: Seconds = 86400.0
    retry_delays: Annotated[tuple[Seconds, Seconds, Seconds], Field()] = (30.0, 300.0, 3600.0)
    pause_after: int = Field(20, ge=0, le=1_000_000)
    runtime: Literal["runner", "faust"] = "runner"
    concurrency: int = Field(1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _complete(self) -> "HandlerSettings":
        needed = {"python": "python", "maildir": "path", "command": "command", "webhook": "url"}.get(self.use)
        if needed and not getattr(self, needed):
            raise ValueError(f'use = "{self.use}" needs the key {needed}')
        if not self.domains:
            raise ValueError('domains is empty: name the domains whose mail comes here, for example ["bugs.example.org"]')
        return self


class ReplySettings(_Section):
    """[replies]"""

    answer: Literal["accounts", "proven", "anyone"] = "accounts"
    outbox: Path | None = None
    smtp: str | None = None
    per_address_a_day: int = Field(10, ge=0)
    max_an_hour: int = Field(1000, ge=0)
    silent_before: Instant = None
    from_: MailAddress = Field("postroom@localhost.localdomain", alias="from")
    help: str = ""
    templates: Path | None = None
    retry_delays: Annotated[tuple[Seconds, Seconds, Seconds], Field()] = (30.0, 300.0, 3600.0)
    give_up: Seconds = 172_800.0

    @model_validator(mode="after")
    def _one_way(self) -> "ReplySettings":
        if self.outbox and self.smtp:
            raise ValueError("outbox and smtp are both given: replies go one way, so keep one")
        return self


class OopsSettings(_Section):
    """[oops]"""

    path: Path = Path("oops/")


class Settings(_Section):
    """All settings. folder: that of the settings file, to which paths are relative."""

    log: LogSettings = LogSettings()
    archive: ArchiveSettings = ArchiveSettings()
    ingest: IngestSettings = IngestSettings()
    bounce_filter: BounceFilterSettings = BounceFilterSettings()
    accounts: AccountSettings = AccountSettings()
    authentication: AuthenticationSettings = AuthenticationSettings()
    routing: RoutingSettings = RoutingSettings()
    handlers: dict[str, HandlerSettings] = Field(default_factory=dict)
    replies: ReplySettings = ReplySettings()
    oops: OopsSettings = OopsSettings()

    @field_validator("handlers")
    @classmethod
    def _names(cls, value: dict[str, HandlerSettings], info: ValidationInfo) -> dict[str, HandlerSettings]:
        for name, handler in value.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
                raise ValueError(f"{name!r} is no handler name: use lower-case letters, digits, - and _")
            if handler.runtime == "faust" and "log" in info.data and not info.data["log"].url.startswith("kafka://"):
                raise ValueError(f'runtime = "faust" of handler {name}: Faust needs Kafka ([log] url = "kafka://…"), so leave it out')
        return value


class Config:
    """The settings and the folder that their paths are relative to."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self.settings = settings
        self.file = file
        self.folder = file.parent

    def path(self, path: Path) -> Path:
        """A path of the settings, relative to their folder."""
        return self.folder / path


def load(file: Path) -> Config:
    """Reads a settings file. Raises SettingsError; touches nothing."""
    file = file.absolute()
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: there is no settings file; `postroom init` writes one, --config FILE names another") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from error
    try:
        return Config(_overridden(document), file)
    except ValidationError as error:
        faults = dict.fromkeys(_explain(fault) for fault in error.errors())  # each place that is missing in a list is one of its own
        raise SettingsError("\n".join(f"{file}: {fault}" for fault in faults)) from error


def _overridden(document: dict[str, Any]) -> Settings:
    """The settings of a file with what the environment says. Raises ValidationError, SettingsError."""
    if not any(name.upper().startswith(ENV_PREFIX) for name in os.environ):
        return Settings(**document)
    # Only here, because what reads the environment takes an eighth of a command's start to load.
    from postroom.environment import overridden

    return overridden(document)


_LISTS = {
    "domains": '["foo.com"]',
    "trusted_domains": '["example.org"]',
    "patterns": '["[0-9]+"]',
    "command": '["/usr/bin/prog", "arg"]',
    "original_recipient_headers": '["X-Original-To"]',
    "retry_delays": '["30s", "5m", "1h"]',
}
"""How the keys that are lists are written."""


def _explain(fault: Any) -> str:
    """One line of a fault: the section, the key, what is wrong and what to do."""
    *sections, key = [part for part in fault["loc"] if isinstance(part, str)] or ["settings"]  # the number in a list is no key
    at = f"[{'.'.join(sections)}] {key}" if sections else f"[{key}]"
    if sections == ["handlers"]:  # a handler as a whole
        at = f"[handlers.{key}]"
    if fault["type"] == "extra_forbidden":
        known = _known_keys(sections)
        near = difflib.get_close_matches(key, known, 1)
        return f"{at}: unknown key; " + (f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}")
    if fault["type"] == "missing":
        return f"{at}: this key is missing" if isinstance(fault["loc"][-1], str) else f"{at}: the list is too short"
    if fault["type"] in ("model_type", "dict_type"):
        return f"{at}: this is a section: write [{'.'.join([*sections, key])}], in one pair of brackets, and its keys below"
    if fault["type"] == "path_type":
        return f"{at}: this is a path: write it in quotes"
    if fault["type"] == "too_long":
        return f"{at}: the list is too long: it takes {fault['ctx']['max_length']}"
    if fault["type"] == "tuple_type" and key in _LISTS:
        return f"{at}: this is a list: write {_LISTS[key]}"
    return f"{at}: {fault['msg'].removeprefix('Value error, ')}"


def _known_keys(sections: list[str]) -> list[str]:
    model: Any = Settings
    for name in sections:
        if model is Settings and name == "handlers":
            return list(HandlerSettings.model_fields)
        field = model.model_fields.get(name)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]
