"""The roles of `postroom run`: which runners and listeners they are, put together from the parts of the site."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from handlers.batch import Handler
from handlers.python import PythonHandler
from handlers.registry import HandlerSettingsError, HandlerSpec, NotBuilt, build
from handlers.settle import Settle
from handlers.stage import HandlerStage
from postroom.ingest.place import ListenerError, Place, fault_of, place_of
from postroom.outbox import Maildir, Outbox
from postroom.past import passed
from postroom.postman import Postman
from postroom.relay import Relay
from postroom.running import Role, Service
from postroom.settings import HandlerSettings, SettingsError
from postroom.site import Site, now_ms
from streams.gate import Gate
from streams.record import Record, TopicPartition
from streams.retries import RetryPlan
from streams.runner import Options, Runner
from topology.chain import Chain
from topology.replies.limits import Limits
from topology.replies.templates import Templates
from topology.replyer import Replyer, ReplyPolicy
from topology.step import Step

if TYPE_CHECKING:
    from postroom.faust.connection import Connection

CHAIN = ("bounce-filter", "authentication", "routing")
LISTENERS = ("lmtp", "smtp")
_LATER = {"dashboard"}
_DAY_MS = 86_400_000
CHAIN_BATCH = 2_000
"""Mails. A transaction costs the log the same for few as for many; a backlog of mails of 4 KB is about as much as a chain writes at once
(`topology.chain.WRITTEN`), and waits are short where there is none, because a poll brings what is there."""
_DRAINING = 0.05
"""Seconds that a poll waits when there is nothing, where the end of the work is waited for."""


class UnknownRole(Exception):
    """No role of that name, or one that is not built yet; the text says which there are."""


class Roles:
    """The roles that were asked for (all that make sense where none was)."""

    def __init__(self, site: Site, wanted: Sequence[str], drain: bool) -> None:
        self._site = site
        self._drain = drain
        everything = [name for name in LISTENERS if getattr(site.settings.ingest, name) and not drain]
        self._faust = [name for name, handler in site.settings.handlers.items() if handler.runtime == "faust"]
        settling = [f"settle:{name}" for name in self._faust]
        everything += ["chain", *(f"handler:{name}" for name in site.handler_names), *settling, "replyer"]
        if site.settings.replies.outbox or site.settings.replies.smtp:
            everything.append("postman")
        named = [part for name in wanted for part in (settling if name == "settle" and settling else [name])]
        self.names = list(dict.fromkeys(named)) or everything
        for name in self.names:
            self._check(name)
        # Everything that the settings can be wrong about is made here, before the log is opened: a wrong setting touches nothing.
        chosen = [name.partition(":")[2] for name in self.names if name.startswith("handler:")]
        self._handlers = {name: self._built(name) for name in chosen}
        self._connection = self._faust_connection() if set(chosen) & set(self._faust) else None
        self._policy = self._reply_policy()
        self._gate = Gate()
        self._outbox = self._outbox_of() if "postman" in self.names else None
        if {"chain", *CHAIN} & set(self.names):
            site.read_parts()
        self._places = {name: listening_place(site, name) for name in self.names if name in LISTENERS}

    @property
    def listening(self) -> dict[str, str]:
        """Where the listeners among them listen, as people write it."""
        return {name: str(place.path or f"{place.host}:{place.port}") for name, place in self._places.items()}

    @property
    def prompt(self) -> bool:
        """Whether somebody waits for these to answer: clients of a listener, or what a coroutine talks to."""
        coroutines = any(isinstance(handler, PythonHandler) and handler.is_async for handler in self._handlers.values())
        return coroutines or bool(self._places)

    def _check(self, name: str) -> None:
        handlers = [f"handler:{handler}" for handler in self._site.handler_names]
        settling = ["settle", *(f"settle:{handler}" for handler in self._faust)] if self._faust else []
        known = [*LISTENERS, "chain", *CHAIN, *handlers, *settling, "replyer", "postman"]
        if name.partition(":")[0] in _LATER:
            raise UnknownRole(f"{name} is not built yet")
        if name not in known:
            raise UnknownRole(f"{name!r} is no role here; there are {', '.join(known)}")

    def _options(self, batch: int = 500) -> Options:
        options = Options(batch=batch, gate=self._gate)
        return replace(options, idle=_DRAINING) if self._drain else options

    # -- runners --------------------------------------------------------------------------------------------------------------------

    def runners(self) -> list[Role]:
        """What runs, in the order of the flow (a drain looks at it so)."""
        found: list[Role] = []
        for name in self.names:
            if name == "chain":
                found += [self._chain(self._site.steps()[first:]) for first in range(len(CHAIN))]
            elif name in CHAIN:
                found.append(self._chain([self._site.steps()[CHAIN.index(name)]]))
            elif name.startswith("handler:"):
                handler = name.partition(":")[2]
                found.append(self._on_faust(handler) if handler in self._faust else self._handler(handler))
            elif name.startswith("settle:"):
                found.append(self._settle(name.partition(":")[2]))
            elif name == "replyer":
                found.append(self._replyer())
            elif name == "postman":
                found.append(self._postman())
        return sorted(found, key=self._place)

    def _place(self, runner: Role) -> int:
        order = [*CHAIN, "handler", "settle", "replyer", "postman"]
        role = runner.group.removeprefix(self._site.topics.group("")).partition(".")[0]
        return order.index(role)

    def _chain(self, steps: Sequence[Step]) -> Runner:
        site = self._site
        stage = Chain(steps, site.topics, site.oopses, now_ms, hands_on=site.log.hands_on)
        return Runner(site.log, site.topics.group(stage.name), [stage.source], stage, options=self._options(CHAIN_BATCH))

    def _handler(self, name: str) -> Runner:
        site = self._site
        handler, topics = self._handlers[name], site.topics
        stage = HandlerStage(handler, topics, site.archive, site.oopses, now_ms, inline_limit=site.settings.archive.inline_limit)
        return Runner(site.log, topics.group(f"handler.{name}"), [topics.routed(name)], stage, self._plan(name), self._options())

    def _plan(self, name: str) -> RetryPlan:
        settings = self._site.settings.handlers[name]
        return RetryPlan(tuple(self._site.topics.retries(name)), settings.retry_delays, settings.give_up)

    def _on_faust(self, name: str) -> Role:
        from postroom.faust.app import Terms
        from postroom.faust.role import FaustRole, Setting

        site, handler, plan = self._site, self._handlers[name], self._plan(name)
        settings, topics = site.settings.handlers[name], site.topics
        assert isinstance(handler, PythonHandler)
        delays = {topics.routed(name): 0.0, **dict(zip(plan.topics, plan.delays, strict=True))}
        assert self._connection
        terms = Terms(self._connection, topics.group(f"handler.{name}"), delays, settings.concurrency)
        inline_limit = site.settings.archive.inline_limit
        return FaustRole(Setting(handler, terms, topics, site.log, site.archive, self._gate, now_ms, inline_limit, settings.timeout))

    def _faust_connection(self) -> "Connection":
        from postroom.faust.connection import connection

        settings = self._site.settings.log
        try:
            return connection(settings.url, settings.client)
        except ValueError as error:
            raise SettingsError(f"{self._site.config.file}: {error}") from error

    def _settle(self, name: str) -> Runner:
        site = self._site
        said, group = site.topics.said(name), site.topics.group(f"settle.{name}")
        stage = Settle(
            name,
            site.topics,
            site.log,
            site.archive,
            site.oopses,
            now_ms,
            plan=self._plan(name),
            window=site.settings.log.dedupe_window,
            history=lambda partition, window: passed(site.log, group, TopicPartition(said, partition), window, now_ms()),
            inline_limit=site.settings.archive.inline_limit,
        )
        return Runner(site.log, group, [said], stage, options=self._options())

    def _built(self, name: str) -> Handler:
        site = self._site
        try:
            return build(spec(name, site.settings.handlers[name]), site.config.folder)
        except (HandlerSettingsError, NotBuilt) as error:
            raise SettingsError(f"{site.config.file}: {error}") from error

    def _replyer(self) -> Runner:
        site = self._site
        stage = Replyer(site.topics, self._policy, site.archive, site.log, site.settings.archive.inline_limit)
        return Runner(site.log, site.topics.group("replyer"), stage.sources, stage, options=self._options())

    def _reply_policy(self) -> ReplyPolicy:
        site = self._site
        settings = site.settings.replies
        try:
            templates = Templates(site.config.path(settings.templates) if settings.templates else None)
            return ReplyPolicy(settings.answer, settings.from_, settings.help or None, site.settings.ingest.max_size, templates)
        except ValueError as error:
            raise SettingsError(f"{site.config.file}: {error}") from error

    def _postman(self) -> Runner:
        site = self._site
        settings, topics = site.settings.replies, site.topics
        policy = self._policy
        assert self._outbox
        stage = Postman(
            topics,
            self._outbox,
            site.archive,
            site.log,
            limits=Limits(settings.per_address_a_day, settings.max_an_hour),
            recent=self._replies_of_the_day,
            gone=policy.templates.gone(policy.context),
            clock=now_ms,
            silent_before=settings.silent_before,
        )
        plan = RetryPlan(tuple(topics.reply_retries()), settings.retry_delays, settings.give_up)
        return Runner(site.log, topics.group("postman"), [topics.replies], stage, plan, self._options(50))

    def _replies_of_the_day(self, partition: int) -> Iterable[Record]:
        """What the postman has already worked on of a partition, a day back from where it stands: a postman that is days behind counts on
        from where it was."""
        topics = self._site.topics
        return passed(self._site.log, topics.group("postman"), TopicPartition(topics.replies, partition), _DAY_MS, now_ms())

    def _outbox_of(self) -> Outbox:
        """Where replies go. Raises SettingsError."""
        site = self._site
        settings = site.settings.replies
        try:
            if settings.smtp:
                return Relay(settings.smtp)
        except ValueError as error:
            raise SettingsError(f"{site.config.file}: {error}") from error
        if settings.outbox is None:
            raise SettingsError(f"{site.config.file}: [replies] outbox or smtp: the postman needs one of them")
        return Maildir(site.config.path(settings.outbox))

    def look_at_outbox(self) -> None:
        """Whether the postman could hand letters over just now. Raises SettingsError, Hold."""
        assert self._outbox
        try:
            self._outbox.look()
        except ValueError as error:
            raise SettingsError(f"{self._site.config.file}: {error}") from error

    # -- listeners ------------------------------------------------------------------------------------------------------------------

    def probe_ports(self) -> None:
        """Whether the listeners' places can be had, before anything else is touched. Raises SettingsError."""
        for name, place in self._places.items():
            if fault := fault_of(place):
                where = getattr(self._site.settings.ingest, name)
                raise SettingsError(f"{self._site.config.file}: [ingest] {name} = {where!r}: {fault}")

    def services(self) -> list[Service]:
        """The listeners."""
        if not self._places:
            return []
        from postroom.ingest.listener import Listener

        return [Listener(place, self._site.acceptor, lmtp=name == "lmtp") for name, place in self._places.items()]


def listening_place(site: Site, name: str) -> Place:
    """Where the settings have a listener listen. Raises SettingsError."""
    where = getattr(site.settings.ingest, name)
    if where is None:
        raise SettingsError(f"{site.config.file}: [ingest] {name}: say where to listen, for example 127.0.0.1:8024")
    try:
        return place_of(name, where, site.config.folder, allow_remote=site.settings.ingest.allow_remote)
    except ListenerError as error:
        raise SettingsError(f"{site.config.file}: {error}") from error


def spec(name: str, settings: HandlerSettings) -> HandlerSpec:
    """A handler's settings as the registry takes them."""
    return HandlerSpec(name=name, **settings.model_dump())
