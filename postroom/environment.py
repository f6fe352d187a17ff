"""Settings that the environment overrides: POSTROOM_<SECTION>__<KEY>, as pydantic-settings reads it; lists and sections as JSON."""

from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
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
        raise SettingsError(f"{error}: write lists and sections in POSTROOM_… variables as JSON, for example '[\"foo.com\"]'") from error
