"""The two ends of a copy: what the words FROM and TO mean, whether a log stands still, and what fills a new one."""

from pathlib import Path
from urllib.parse import parse_qs

from pydantic import ValidationError

from postroom.settings import Config, LogSettings, SettingsError
from postroom.site import Site
from streams.copying import Target
from streams.errors import Fatal, Transient
from streams.sqlite import SqliteLog
from streams.sqlite.copying import SqliteTarget, workers
from topology.records import Topics

_SQLITE = "sqlite:///"


def site_of(word: str, base: Site) -> Site:
    """An installation: of the settings file that the word names, or of the base's settings with the log's URL that the word is; behind it
    may stand ?prefix=P. Raises SettingsError."""
    if "://" not in word:
        return Site.at(Path(word))
    url, mark, query = word.partition("?")
    asked = parse_qs(query, keep_blank_values=True)
    if mark and ([*asked] != ["prefix"] or len(asked["prefix"]) != 1):
        raise SettingsError(f"{word}: behind a log's URL may stand ?prefix=P, and nothing else")
    return with_log(base, url, asked["prefix"][0] if mark else base.topics.prefix)


def with_log(base: Site, url: str, prefix: str) -> Site:
    """The installation with another log. Raises SettingsError."""
    try:
        log = LogSettings(**(base.settings.log.model_dump() | {"url": url, "prefix": prefix}))
    except ValidationError as error:
        raise SettingsError(f"{url}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    return Site(Config(base.settings.model_copy(update={"log": log}), base.config.file))


def file_of(site: Site) -> Path | None:
    """The file of an installation's SQLite log; None on Kafka."""
    url = site.settings.log.url
    return (site.config.folder / url.removeprefix(_SQLITE)).resolve() if url.startswith(_SQLITE) else None


def place_of(site: Site) -> tuple[str, str]:
    """Where the log is, so that two words for the same are known."""
    return str(file_of(site) or site.settings.log.url.rstrip("/")), site.topics.prefix


def refuse_missing(site: Site) -> None:
    """Raises Fatal where there is no SQLite file, which opening the log would create."""
    file = file_of(site)
    if file is not None and not file.exists():
        raise Fatal(f"{file}: there is no log to be copied")


def stands_still(site: Site) -> None:
    """Raises Transient where somebody works on the log."""
    topics = site.topics
    log = site.log
    if isinstance(log, SqliteLog):
        at_work = [group for group in workers(file_of(site) or Path(), None) if group.startswith(topics.group(""))]
    else:
        from streams.kafka import KafkaLog
        from streams.kafka.copying import wait_for_transactions
        from streams.kafka.copying import workers as members

        assert isinstance(log, KafkaLog)
        there = [name for name in log.topics() if name.startswith(f"{topics.prefix}.")]
        at_work = members(log, groups_of(topics, there))
        if not at_work:
            wait_for_transactions(log, there)
    if at_work:
        names = ", ".join(group.removeprefix(topics.group("")) for group in at_work)
        raise Transient(
            f"{site.settings.log.url}: {names}: at work. Stop every `postroom run` on this log, its listeners too, and whatever imports or "
            "pipes; a worker that was killed on Kafka counts for the seconds of its session"
        )


def groups_of(topics: Topics, there: list[str]) -> list[str]:
    """Every group of a log, of handlers that the settings no longer name too."""
    from postroom.reading.pending import handlers

    names = handlers(topics, there)
    roles = ["bounce-filter", "authentication", "routing", "replyer", "postman"]
    return [topics.group(role) for role in [*roles, *(f"{kind}.{name}" for name in names for kind in ("handler", "settle"))]]


def filling(site: Site) -> Target:
    """What fills the installation's log, which is not opened where it is a file."""
    file = file_of(site)
    if file is not None:
        if not file.parent.is_dir():
            raise Fatal(f"{file.parent}: there is no such folder; make it first")
        return SqliteTarget(file)
    from streams.kafka import KafkaLog
    from streams.kafka.copying import KafkaTarget

    assert isinstance(site.log, KafkaLog)
    return KafkaTarget(site.log, site.topics.prefix)
