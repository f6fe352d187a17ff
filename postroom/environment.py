"""Settings that the environment overrides: POSTROOM_<SECTION>__<KEY>, as pydantic-settings reads it; lists and sections as JSON."""

from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableSource

from postroom.settings import ENV_PREFIX, Settings, SettingsError


class _Overridden(BaseSettings, Settings):
    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return env_settings, init_settings


def overridden(document: dict[str, Any]) -> Settings:
    """The settings of a document, joined with what the environment says. Raises pydantic's ValidationError, and SettingsError for a
    variable that cannot be read."""
    try:
        return _Overridden(**document)
    except UnreadableSource as error:  # its value may be a secret, so it is not repeated
        raise SettingsError(f"{_unreadable()}: cannot be read: write lists and sections as JSON, for example '[\"foo.com\"]'") from error


def _unreadable() -> str:
    """The variable that cannot be read; the library names the section alone."""
    source = EnvSettingsSource(_Overridden)
    for name, value in source.env_vars.items():
        source.env_vars = {name: value}
        try:
            source()
        except UnreadableSource:
            return name.upper()
    return f"a variable {ENV_PREFIX}…"
