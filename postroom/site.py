"""One installation: the settings, and every part that they name, each made at its first use and shared from then on.

Parts are imported where they are made: `list` needs neither DNS nor cryptography, and answers the sooner.
"""

import logging
import os
import sys
import time
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from postroom.forgotten import refuse_forgotten
from postroom.past import standing
from postroom.settings import Config, SettingsError, load
from streams.copying import MARK
from streams.errors import Fatal, TopicMissing
from streams.faults import Hold
from streams.log import Log, TopicSpec
from streams.record import TopicPartition
from streams.sqlite import SqliteLog
from topology.head import HeadReader
from topology.records import FACTS_ROOM, Topics

if TYPE_CHECKING:
    from postroom.archive import ObjectArchive
    from postroom.directory.port import SiteDirectory
    from postroom.ingest.accept import Acceptor
    from postroom.ingest.room import Room
    from postroom.oopses import OopsReports
    from topology.openpgp import Keyring
    from topology.ports import Resolver
    from topology.proofs import Policy
    from topology.repeats import Past
    from topology.routing import Table
    from topology.step import Step

log = logging.getLogger("postroom")


SHIPPED_MESSAGE_BYTES = 1_048_588
"""Kafka's max.message.bytes as it is shipped."""


def now_ms() -> int:
    """The clock: ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Site:
    """The parts of one installation. Making it reads nothing but the settings; parts that cannot be had raise SettingsError or
    streams.errors.Fatal with one clear line."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = config.settings
        self.topics = Topics(config.settings.log.prefix)
        self.handler_names = list(config.settings.handlers)
        self.slot: str | None = None
        """On Kafka: the worker's slot that was asked for."""

    @classmethod
    def at(cls, file: Path) -> "Site":
        """The installation of a settings file. Raises SettingsError."""
        return cls(load(file))

    # -- the log ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def log(self) -> Log:
        """The event log, opened (and a SQLite file created)."""
        url = self.settings.log.url
        if url.startswith("sqlite:///"):
            return SqliteLog(self.config.folder / url.removeprefix("sqlite:///"))
        from postroom.brokers import kafka_log

        return kafka_log(self.config, self.slot)

    def topic_specs(self) -> list[TopicSpec]:
        """Every topic that the settings imply."""
        topics, how = self.topics, self.settings.log.topics
        names = [topics.raw, topics.screened, topics.authenticated, topics.outcomes, topics.failures, topics.answers, topics.replies]
        names += topics.reply_retries()
        for name, handler in self.settings.handlers.items():
            names += [topics.routed(name), *topics.retries(name)]
            if handler.runtime == "faust":
                names.append(topics.said(name))
        config = {}
        if how.min_insync_replicas is not None:
            config["min.insync.replicas"] = str(how.min_insync_replicas)
        if how.max_message_bytes is not None:
            config["max.message.bytes"] = str(how.max_message_bytes)
        specs = [TopicSpec(name, how.partitions, how.retention, how.replication, config) for name in names]
        return [*specs, TopicSpec(topics.replays, 1, how.retention, how.replication, config)]

    def groups(self) -> dict[str, list[str]]:
        """Every consumer group with the topics that it reads."""
        topics = self.topics
        found = {
            topics.group("bounce-filter"): [topics.raw],
            topics.group("authentication"): [topics.screened],
            topics.group("routing"): [topics.authenticated],
            topics.group("replyer"): [topics.failures, topics.answers],
            topics.group("postman"): [topics.replies, *topics.reply_retries()],
        }
        for name, handler in self.settings.handlers.items():
            found[topics.group(f"handler.{name}")] = [topics.routed(name), *topics.retries(name)]
            if handler.runtime == "faust":
                found[topics.group(f"settle.{name}")] = [topics.said(name)]
        return found

    def ensure_topics(self) -> None:
        """Creates all topics and groups when none exists under the prefix. Raises TopicMissing when only some are missing: then
        somebody has to look, because a topic that vanished took its mails with it. Raises Fatal when one has another number of
        partitions than the settings say: order and repeats are by key, hence by partition."""
        there = self.log.topics()
        self.refuse_half_a_copy(there)
        specs = self.topic_specs()
        missing = [spec.name for spec in specs if spec.name not in there]
        if len(missing) == len(specs):
            self.create_topics(specs)
        elif missing:
            raise TopicMissing(
                f"{', '.join(missing)}: missing on the log; when a handler is new, `postroom topics --create` makes its topics as "
                "[log.topics] says"
            )
        elif drifted := [spec for spec in specs if there[spec.name] != spec.partitions]:
            first = drifted[0]
            raise Fatal(f"{first.name}: {partitions_differ(first, there[first.name])} (`postroom topics` shows all)")

    def refuse_half_a_copy(self, there: Container[str]) -> None:
        """Raises Fatal where a copy into this log is under way, or was cut short."""
        if (mark := f"{self.topics.prefix}.{MARK}") in there:
            raise Fatal(
                f"a copy into {self.settings.log.url} with the prefix {self.topics.prefix} is not finished (there is a topic {mark}): run "
                "the same `postroom copy` again, which begins anew, or delete the topics of this prefix"
            )

    def create_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Creates topics, and writes the start of every group. Raises Fatal where the log has forgotten one."""
        self.refuse_half_a_copy(self.log.topics())
        self.log.create(list(specs))
        groups = self.groups().items()
        refuse_forgotten(self.log, groups, self.topics.outcomes)
        with ThreadPoolExecutor(8) as pool:  # on Kafka each waits a third of a second for the coordinator of a transaction of its own
            for made in [pool.submit(self.log.ensure_group, group, topics) for group, topics in groups]:
                made.result()

    @cached_property
    def oopses(self) -> "OopsReports":
        """The OOPS repository."""
        from postroom.oopses import OopsReports

        return OopsReports(self.config.path(self.settings.oops.path))

    # -- what comes in --------------------------------------------------------------------------------------------------------------

    @cached_property
    def archive(self) -> "ObjectArchive":
        """The archive of large mails."""
        from postroom.archive import ObjectArchive

        try:
            return ObjectArchive(self.settings.archive.url, self.config.folder)
        except ValueError as error:
            raise SettingsError(f"{self.config.file}: [archive] url: {error}") from error

    @cached_property
    def reader(self) -> HeadReader:
        """Reads the heads of mails, with the fields that the settings ask for."""
        return HeadReader(self.settings.routing.original_recipient_headers)

    @cached_property
    def acceptor(self) -> "Acceptor":
        """Makes mails durable."""
        from postroom.ingest.accept import Acceptor

        # The archive before the log: a wrong setting of its own touches nothing.
        room = self.room
        return Acceptor(
            self.log,
            self.topics,
            self.archive,
            inline_limit=self.settings.archive.inline_limit,
            max_size=self.settings.ingest.max_size,
            room=room,
            reader=self.reader,
        )

    @cached_property
    def room(self) -> "Room":
        """Whether the disks of the log and the archive have room for more mail."""
        from postroom.ingest.room import Room

        file = self.config.folder / self.settings.log.url.removeprefix("sqlite:///")
        log = file if self.settings.log.url.startswith("sqlite:///") else self.config.folder
        watched = [log] if self.archive.directory is None else [log, self.archive.directory]
        return Room(self.settings.ingest.min_free, watched)

    # -- the chain ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def keyring(self) -> "Keyring":
        """The public keys: of the folder at once, and those of the database from the first reload on."""
        from postroom.directory.keys import DatabaseKeys
        from topology.openpgp import Keyring, KeyringError

        folder, directory = self.settings.accounts.keys, self.directory
        try:
            keyring = Keyring.load(self.config.path(folder)) if folder else Keyring()
        except KeyringError as error:
            raise SettingsError(f"{self.config.file}: [accounts] keys: {error}") from error
        if directory.holds_keys:
            keyring.watch(DatabaseKeys(directory.keys, lambda: directory.keys_version))
        return keyring

    @cached_property
    def directory(self) -> "SiteDirectory":
        """The accounts; those on PostgreSQL are not yet connected to."""
        settings = self.settings.accounts
        if settings.postgresql:
            from postroom.directory.postgres import PostgresDirectory

            url = settings.postgresql.get_secret_value()
            return PostgresDirectory(url, timeout=settings.timeout, query=settings.query, keys_query=settings.keys_query)
        from postroom.directory.toml import TomlDirectory

        if settings.file is None:
            raise SettingsError(f"{self.config.file}: [accounts] file: name the accounts file")
        return TomlDirectory(self.config.path(settings.file))

    @cached_property
    def resolver(self) -> "Resolver":
        """DNS, or a zone file in its stead."""
        zone = self.settings.authentication.dns_zone
        if zone is None:
            from postroom.dns import DnsResolver

            return DnsResolver()
        from postroom.zone import ZoneError, ZoneResolver

        try:
            return ZoneResolver(self.config.path(zone))
        except ZoneError as error:
            raise SettingsError(f"{self.config.file}: [authentication] dns_zone: {error}") from error

    def policy(self) -> "Policy":
        """The settings of [authentication] as the stage takes them."""
        from topology.proofs import Policy

        settings = self.settings.authentication
        return Policy(
            settings.trusted_domains,
            settings.alignment,
            settings.authserv_id,
            settings.signature_max_age,
            settings.signature_max_future,
            settings.dkim_max_age,
            settings.openpgp_legacy,
        )

    def read_parts(self) -> None:
        """Reads what the chain's settings name, without opening the log. Raises SettingsError, Fatal; a database that is away may come
        back."""
        _ = self.keyring, self.resolver, self.archive  # each reads its settings when it is asked for
        try:
            self.directory.look()
            self.keyring.reload()
        except Hold as away:
            log.warning("%s", away)

    def steps(self) -> "list[Step]":
        """Bounce filter, authentication and routing, each new (they keep state of their own)."""
        from topology.authentication import AuthenticationStep
        from topology.bounce_filter import BounceFilter
        from topology.repeats import Repeats
        from topology.routing import Routing
        from topology.screening import Screen
        from topology.step import MailSource

        settings = self.settings
        mails = MailSource(self.log, self.archive)
        screen = Screen(settings.bounce_filter.rules, settings.bounce_filter.max_received)
        repeats = Repeats(settings.log.dedupe_window, self._screened)
        return [
            BounceFilter(self.topics, self.log.id, self.reader, mails, screen, repeats, now_ms, self.largest_foreign),
            AuthenticationStep(self.topics, self.reader, mails, self.directory, self.resolver, self.keyring, self.policy(), now_ms),
            Routing(self.topics, self.reader, mails, self.table(), settings.routing.original_recipient_headers, now_ms),
        ]

    @property
    def largest_foreign(self) -> int:
        """Octets above which a bare record counts as too large: on Kafka every later topic must take the mail with its facts."""
        log = self.settings.log
        if not log.url.startswith("kafka://"):
            return sys.maxsize
        most = log.topics.max_message_bytes or SHIPPED_MESSAGE_BYTES
        return max(most - FACTS_ROOM, most // 2)

    def _screened(self, partition: int, window_ms: int) -> "Past":
        """What the bounce filter has done of a partition; see Past."""
        from topology.repeats import Past

        raw = TopicPartition(self.topics.raw, partition)
        _, until = standing(self.log, self.topics.group("bounce-filter"), raw, now_ms())
        return Past(until, self.log.read(self.topics.screened, partition, since=max(0, until - window_ms)))

    def table(self) -> "Table":
        """The handlers as routing knows them."""
        from topology.routing import Destination, Table, compiled

        return Table(
            Destination(name, handler.domains, compiled(handler.patterns), handler.allow_unknown_senders, handler.require_strong)
            for name, handler in self.settings.handlers.items()
        )

    def close(self) -> None:
        """Lets go of the log and the directory."""
        if "log" in self.__dict__:
            self.log.close()
        if "directory" in self.__dict__:
            self.directory.close()


def partitions_differ(spec: TopicSpec, partitions: int) -> str:
    """The sentence about a topic whose number of partitions is not the one that the settings imply."""
    return f"it has {partitions} partitions, [log.topics] partitions asks for {spec.partitions}: that number never changes, so set it back"


def from_context(ctx: typer.Context) -> Site:
    """The installation that the command line names with --config."""
    found = ctx.find_root().obj
    if not isinstance(found, Site):
        file = Path(found or os.environ.get("POSTROOM_CONFIG", "postroom.toml"))
        found = ctx.find_root().obj = Site.at(file)
        ctx.find_root().call_on_close(found.close)
    return found
