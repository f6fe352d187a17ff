"""`postroom check`: is everything that the settings name there, and sane? Secrets are never shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from postroom.roles import Roles, port_fault
from postroom.settings import SettingsError
from postroom.site import Site
from streams.errors import Fatal, LogError
from streams.faults import Hold


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
        ("handlers", lambda: _handlers(site)),
        ("replies", lambda: _replies(site)),
        ("listeners", lambda: _listeners(site)),
    ]
    for what, look in looks:
        try:
            yield from look()
        except (SettingsError, Fatal) as error:
            yield Finding(what, "wrong", str(error))
        except (LogError, Hold) as error:
            yield Finding(what, "away", str(error))


def _log(site: Site) -> Iterator[Finding]:
    url = site.settings.log.url
    if url.startswith("sqlite:///") and not (site.config.folder / url.removeprefix("sqlite:///")).exists():
        yield Finding("log", "ok", f"{url} is not there yet; the first command that writes makes it")
        return
    there = site.log.topics()
    specs = site.topic_specs()
    missing = [spec.name for spec in specs if spec.name not in there]
    drifted = [spec.name for spec in specs if there.get(spec.name, spec.partitions) != spec.partitions]
    if drifted:
        yield Finding("log", "wrong", f"{', '.join(drifted)}: partitions differ from [log.topics] partitions, and a topic's never change")
    if missing and len(missing) < len(specs):
        yield Finding("log", "wrong", f"{', '.join(missing)}: missing; `postroom topics --create` makes them")
    if not drifted and (not missing or len(missing) == len(specs)):
        yield Finding("log", "ok", f"{url}, {len(there)} topics")
    biggest = site.settings.log.topics.max_message_bytes
    if biggest is not None and biggest < site.settings.archive.inline_limit:
        yield Finding(
            "log", "wrong", "[archive] inline_limit is above [log.topics] max_message_bytes: mails between them could not be stored"
        )


def _archive(site: Site) -> Iterator[Finding]:
    if site.archive.directory is not None and not site.archive.directory.exists():
        yield Finding("archive", "ok", f"{site.archive.url} is not there yet; the first large mail makes it")
        return
    site.archive.get(f"sha256:{sha256(b'').hexdigest()}")  # raises Hold where it cannot be reached
    yield Finding("archive", "ok", f"{site.archive.url}, for mails over {site.settings.archive.inline_limit} octets")


def _accounts(site: Site) -> Iterator[Finding]:
    directory = site.directory
    yield Finding("accounts", "ok", f"{directory.file}: {directory.size} addresses")
    keys = len(list(site.keyring.fingerprints()))
    yield Finding("keys", "ok", f"{keys} OpenPGP keys in {site.settings.accounts.keys}")
    unheld = sorted(directory.fingerprints - set(site.keyring.fingerprints()))
    if unheld:
        yield Finding(
            "keys",
            "odd",
            f"{', '.join(unheld)}: named in the accounts, but the key is not in [accounts] keys, so its signatures are returned",
        )
    if site.settings.authentication.dns_zone is not None:
        assert site.resolver
        yield Finding("dns", "odd", f"answers come from {site.settings.authentication.dns_zone} instead of DNS")


def _handlers(site: Site) -> Iterator[Finding]:
    if not site.settings.handlers:
        yield Finding("handlers", "odd", "there is no [handlers.<name>], so all mail fails with no-handler")
    for name in site.handler_names:
        Roles(site, [f"handler:{name}"], drain=True)
        yield Finding(f"handler {name}", "ok", f"{site.settings.handlers[name].use}, for {', '.join(site.settings.handlers[name].domains)}")


def _replies(site: Site) -> Iterator[Finding]:
    settings = site.settings.replies
    Roles(site, ["replyer"], drain=True)
    if settings.outbox is None and settings.smtp is None:
        yield Finding("replies", "odd", "neither [replies] outbox nor smtp is given: replies wait on the log and nobody hears anything")
    else:
        Roles(site, ["postman"], drain=True)
        yield Finding("replies", "ok", f"to {settings.answer}, by {'outbox' if settings.outbox else 'smtp'}, from {settings.from_}")


def _listeners(site: Site) -> Iterator[Finding]:
    for name in ("lmtp", "smtp"):
        where = getattr(site.settings.ingest, name)
        if where is None or where.startswith("unix:"):
            continue
        if fault := port_fault(where):
            yield Finding(name, "odd", f"[ingest] {name} = {where}: {fault}; if postroom runs already, that is it")
        else:
            yield Finding(name, "ok", f"{where} is free")
