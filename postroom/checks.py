"""`postroom check`: is everything that the settings name there, and sane? Secrets are never shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from postroom import drift
from postroom.forgotten import forgotten
from postroom.ingest.place import fault_of
from postroom.roles import LISTENERS, Roles, listening_place
from postroom.settings import SettingsError
from postroom.site import Site
from streams.disk import in_the_way, locked
from streams.errors import Fatal, LogError
from streams.faults import Hold, Newer
from topology.openpgp import KeyringError
from topology.records import FACTS_ROOM


@dataclass(frozen=True, slots=True)
class Finding:
    """what: the part; state: ok, odd (it works, but look), wrong (it will not run) or away (try later); words: why, and what to do."""

    what: str
    state: Literal["ok", "odd", "wrong", "away"]
    words: str

    @property
    def mark(self) -> str:
        """How it is printed."""
        return {"ok": "ok   ", "odd": "look ", "wrong": "WRONG", "away": "AWAY "}[self.state]

    @property
    def status(self) -> int:
        """The exit status that it asks for."""
        return {"ok": 0, "odd": 0, "wrong": 2, "away": 75}[self.state]


def run(site: Site) -> Iterator[Finding]:
    """A finding a part, as they are looked at."""
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("log", lambda: _log(site)),
        ("archive", lambda: _archive(site)),
        ("accounts", lambda: _accounts(site)),
        ("replies", lambda: _replies(site)),
        ("handlers", lambda: _handlers(site)),
        ("oops", lambda: _oops(site)),
        ("listeners", lambda: _listeners(site)),
        ("room", lambda: _room(site)),
    ]
    told: set[str] = set()
    for what, look in looks:
        try:
            yield from look()
        except (SettingsError, Fatal, Newer, LogError, Hold) as error:
            if (words := str(error)) not in told:  # a handler needs what the replies need, too
                yield Finding(what, "wrong" if isinstance(error, SettingsError | Fatal | Newer) else "away", words)
            told.add(words)


def _log(site: Site) -> Iterator[Finding]:
    url = site.settings.log.url
    if url.startswith("sqlite:///") and not _exists(file := site.config.folder / url.removeprefix("sqlite:///")):
        if not file.parent.is_dir():
            raise SettingsError(f"[log] url = {url}: there is no folder {file.parent}")
        if fault := locked(file.parent):
            raise SettingsError(f"[log] url = {url}: {fault}")
        yield Finding("log", "ok", f"{url} is not there yet; the first command that writes makes it")
        return
    rows = drift.compare(site)
    missing = [row.topic for row in rows if row.state == "missing"]
    drifted = [row for row in rows if row.state == "drifted"]
    for row in drifted:
        yield Finding("log", "wrong", f"{row.topic}: {'; '.join(row.drift)}")
    if missing and len(missing) < len(rows):
        yield Finding("log", "wrong", f"{', '.join(missing)}: missing; `postroom topics --create` makes them")
    if not drifted and len(missing) in (0, len(rows)):
        yield Finding(
            "log",
            "ok",
            f"{url}, "
            + (
                f"{len(rows)} topics" if not missing else "no topics yet, or none that we may see; the first command that writes makes them"
            ),
        )
    if url.startswith("kafka://"):
        yield from _sizes(site, rows)
        if not missing:
            yield from (Finding("log", "wrong", words) for words in forgotten(site.log, site.groups().items(), site.topics.outcomes))


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:  # its name is too long, for one
        raise SettingsError(f"[log] url: {file}: {error.strerror or error}") from error


def _sizes(site: Site, rows: list[drift.TopicRow]) -> Iterator[Finding]:
    """Whether the largest mail that goes into a record fits, with its facts beside it."""
    inline = site.settings.archive.inline_limit
    said = {row.max_message_bytes: row.topic for row in reversed(rows) if row.max_message_bytes is not None}
    if not said and site.settings.log.topics.max_message_bytes is not None:
        said = {site.settings.log.topics.max_message_bytes: "[log.topics]"}
    if not said or (smallest := min(said)) >= inline + FACTS_ROOM:
        return
    words = f"[archive] inline_limit is {inline}, and {said[smallest]} takes records up to max.message.bytes = {smallest}"
    if smallest < inline:
        yield Finding(
            "log", "wrong", f"{words}: mails between them cannot be stored; lower the one, or raise [log.topics] max_message_bytes"
        )
    else:
        yield Finding("log", "odd", f"{words}: leave {FACTS_ROOM} octets between them for the facts that travel with a mail")


def _archive(site: Site) -> Iterator[Finding]:
    directory = site.archive.directory
    if directory is not None and (fault := locked(directory)):
        raise SettingsError(f"[archive] url = {site.archive.url}: {fault}")
    if directory is not None and not directory.exists():
        if fault := in_the_way(directory):
            raise SettingsError(f"[archive] url = {site.archive.url}: {fault}")
        yield Finding("archive", "ok", f"{site.archive.url} is not there yet; the first large mail makes it")
        return
    site.archive.get(f"sha256:{sha256(b'').hexdigest()}")  # raises Hold where it cannot be reached
    yield Finding("archive", "ok", f"{site.archive.url}, for mails over {site.settings.archive.inline_limit} octets")


def _accounts(site: Site) -> Iterator[Finding]:
    settings, directory = site.settings.accounts, site.directory
    yield Finding("accounts", "ok", directory.look())
    if settings.postgresql and "file" in settings.model_fields_set:
        yield Finding("accounts", "odd", f"[accounts] file: {settings.file} is not read, because postgresql is given")
    keyring = site.keyring
    try:
        keyring.reload()
    except KeyringError as error:
        raise SettingsError(f"[accounts] keys: {error}") from error
    where = (
        " and ".join([str(settings.keys)] * bool(settings.keys) + ["the database"] * directory.holds_keys)
        or "no place: set [accounts] keys"
    )
    yield Finding("keys", "ok", f"{len(keyring.fingerprints())} OpenPGP keys in {where}")
    if unheld := sorted(directory.keyless() - keyring.fingerprints()):
        words = f"{', '.join(unheld)}: named in the accounts, but the key is not held, so what it signed is returned; add it there"
        yield Finding("keys", "odd", words)
    if site.settings.authentication.dns_zone is not None:
        assert site.resolver
        yield Finding("dns", "odd", f"answers come from {site.settings.authentication.dns_zone} instead of DNS")


def _handlers(site: Site) -> Iterator[Finding]:
    if not site.settings.handlers:
        yield Finding("handlers", "odd", "there is no [handlers.<name>], so all mail fails with no-handler")
    for name in site.handler_names:
        Roles(site, [f"handler:{name}"], drain=True)
        handler = site.settings.handlers[name]
        if handler.use == "maildir" and handler.path and (fault := locked(site.config.path(handler.path))):
            yield Finding(f"handler {name}", "wrong", f"[handlers.{name}] path = {handler.path}: {fault}")
        elif handler.database is not None and (fault := _unreached_database(handler.database)):
            yield Finding(f"handler {name}", "away", f"[handlers.{name}] database: {fault}")
        else:
            yield Finding(f"handler {name}", "ok", f"{handler.use}, for {', '.join(handler.domains)}")
    yield from _unreached(site)


def _unreached_database(url: str) -> str | None:
    """Why a database lets nobody in, or None. Makes nothing there."""
    from psycopg2 import Error  # loads only where it is used
    from psycopg2.extensions import connection

    from handlers.connection import connect, in_words

    try:
        connect(url, "check", 5, connection).close()
    except Error as error:
        return in_words(error, url)
    return None


def _unreached(site: Site) -> Iterator[Finding]:
    """Handlers that never get the mail of a domain, because one before them takes all of it."""
    taken: dict[str, str] = {}
    for name, handler in site.settings.handlers.items():
        for domain in dict.fromkeys(handler.domains):
            if domain in taken:
                words = f"all mail for {domain} goes to {taken[domain]}, which stands before it without patterns"
                yield Finding(f"handler {name}", "odd", f"{words}; give that some, or move it behind")
            elif not handler.patterns:
                taken[domain] = name


def _replies(site: Site) -> Iterator[Finding]:
    settings = site.settings.replies
    Roles(site, ["replyer"], drain=True)
    if settings.outbox is None and settings.smtp is None:
        yield Finding("replies", "odd", "neither [replies] outbox nor smtp is given: replies wait on the log and nobody hears anything")
    else:
        Roles(site, ["postman"], drain=True).look_at_outbox()
        if settings.outbox is not None and (fault := locked(site.config.path(settings.outbox))):
            raise SettingsError(f"[replies] outbox = {settings.outbox}: {fault}")
        yield Finding("replies", "ok", f"to {settings.answer}, by {'smtp' if settings.smtp else 'outbox'}, from {settings.from_}")


def _oops(site: Site) -> Iterator[Finding]:
    path = site.settings.oops.path
    if fault := in_the_way(site.config.path(path)) or locked(site.config.path(path)):
        raise SettingsError(f"[oops] path = {path}: {fault}")
    yield Finding("oops", "ok", f"reports are written to {path}")


def _listeners(site: Site) -> Iterator[Finding]:
    for name in LISTENERS:
        where = getattr(site.settings.ingest, name)
        if where is None:
            continue
        if fault := fault_of(listening_place(site, name)):
            yield Finding(name, "odd", f"[ingest] {name} = {where}: {fault}")
        else:
            yield Finding(name, "ok", f"{where} is free")


def _room(site: Site) -> Iterator[Finding]:
    if lack := site.room.lack():
        yield Finding("room", "away", f"{lack}; until then no mail is taken")
