"""Hand-made logs: each step of a mail written as its stage writes it, on the real engine, with a clock that the test moves."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from streams.log import TopicSpec
from streams.record import Draft, Position
from streams.sqlite import SqliteLog
from topology import ids
from topology.ending import ended
from topology.facts import Authentication, Envelope, Facts, Repeated, Replay, ReplyEvent, Route, Screening, rfc3339
from topology.records import (
    FACTS,
    Topics,
    fact_draft,
    failure_draft,
    mail_draft,
    outcome_draft,
    raw_draft,
    recipient_key,
    reply_event_draft,
)

START = 1772359200.0
"""2026-03-01T10:00:00Z"""
CHAIN = ("bounce-filter", "authentication", "routing")


class Story:
    """A log in the making. Every step returns the facts that the next one takes. now: seconds since 1970, the log's clock."""

    def __init__(self, folder: Path, *, partitions: int = 4, handlers: tuple[str, ...] = ("bugs", "help")) -> None:
        self.now = START
        self.path = folder / "postroom.db"
        self.log = SqliteLog(self.path, clock=lambda: self.now)
        self.topics = Topics("mail")
        names = [self.topics.raw, self.topics.screened, self.topics.authenticated, self.topics.outcomes, self.topics.failures]
        for name in handlers:
            names += [self.topics.routed(name), *self.topics.retries(name)]
        self.log.create([TopicSpec(name, partitions) for name in names])
        self.mails: dict[str, bytes] = {}

    def later(self, ms: int) -> None:
        """Moves the clock on."""
        self.now += ms / 1000

    @property
    def at(self) -> str:
        """The time now, as facts have it."""
        return rfc3339(round(self.now * 1000))

    def append(self, *drafts: Draft) -> list[Position]:
        """Writes records as they are, in one transaction."""
        return [appended.position for appended in self.log.append(drafts)]

    # -- a mail's way -------------------------------------------------------------------------------------------------------------

    def raw(
        self,
        number: int = 1,
        *,
        sender: str | None = "test@example.org",
        recipients: tuple[str, ...] = ("1@bugs.example.org",),
        replay: Replay | None = None,
        repeat: bool = False,
        **envelope: Any,
    ) -> Facts:
        """A mail taken in. repeat: handed over again, past SQLite's own memory of repeats."""
        mail = b"From: test@example.org\nMessage-ID: <%d@x>\n\nhello\n" % number
        digest = sha256(mail)
        mail_id = ids.mail_id(sender, digest.digest(), None)
        members: dict[str, Any] = {"received_at": self.at, "via": "lmtp", "message_id": f"{number}@x", "size": len(mail)} | envelope
        facts = Facts(Envelope(mail_id, sender, recipients, digest=digest.hexdigest(), **members), replay=replay)
        draft = raw_draft(self.topics, facts.envelope, mail)
        headers = tuple((name, facts.encode() if name == FACTS else value) for name, value in draft.headers)
        (position,) = self.append(draft._replace(headers=headers, unique=None if repeat else draft.unique))
        self.mails[mail_id] = mail
        return facts.having(raw=position)

    def screened(self, facts: Facts, *, carried: bool = True, **screening: Any) -> Facts:
        """The bounce filter's word."""
        recipients = {"recipients": facts.envelope.recipients}
        facts = facts.having(screening=Screening(**{"subject": "hello"} | recipients | screening))
        self.fact(self.topics.screened, b"screened", facts, carried=carried)
        return facts

    def repeated(self, facts: Facts, first: Facts) -> Facts:
        """The bounce filter's word on a mail of which every recipient was here before."""
        assert first.raw
        facts = facts.having(repeated=Repeated(facts.envelope.recipients, first.raw._asdict()))
        self.fact(self.topics.screened, b"screened", facts, carried=True)
        self.append(fact_draft(self.topics, self.topics.outcomes, b"repeated", "r", facts.envelope.mail_id.encode(), facts))
        return facts

    def authenticated(self, facts: Facts, *, carried: bool = True, **authentication: Any) -> Facts:
        """Authentication's word."""
        members = {"sender": "test@example.org", "source": "from", "strength": "weak", "account": "sample"}
        facts = facts.having(authentication=Authentication(**members | authentication))
        self.fact(self.topics.authenticated, b"authenticated", facts, carried=carried)
        return facts

    def fact(self, topic: str, kind: bytes, facts: Facts, *, carried: bool) -> None:
        """A record that is facts, in the partition of the mail."""
        assert facts.raw
        id_ = f"{facts.raw.partition}-{facts.raw.offset}.{facts.generation}.{kind.decode()}"
        self.append(fact_draft(self.topics, topic, kind, id_, b"k", facts, partition=facts.raw.partition, carried=carried))

    def routed(self, facts: Facts, recipient: str = "1@bugs.example.org", handler: str = "bugs", topic: str | None = None) -> Facts:
        """A delivery. topic: where it waits instead, a retry topic."""
        route = self.unwritten(facts, recipient, handler)
        facts = facts.having(route=route)
        mail = self.mails[facts.envelope.mail_id]
        self.append(mail_draft(self.topics, topic or self.topics.routed(handler), b"routed", route.delivery_id, recipient, facts, mail))
        return facts

    @staticmethod
    def unwritten(facts: Facts, recipient: str, handler: str = "bugs") -> Route:
        """A route that is not on the log."""
        compared = recipient_key(recipient)
        return Route(ids.delivery_id(facts.envelope.mail_id, compared), handler, compared, recipient, "envelope")

    def outcome(self, facts: Facts, status: Any = "handled", reason: str | None = None, **members: Any) -> Facts:
        """The end of a delivery, by its handler."""
        assert facts.route
        route = facts.route
        known = {"stage": f"handler:{route.handler}", "handler": route.handler}
        return self.end(facts, status, reason, delivery_id=route.delivery_id, recipient=route.recipient, **known | members)

    def end(self, facts: Facts, status: Any, reason: str | None, *, stage: str = "bounce-filter", **members: Any) -> Facts:
        """The end of a mail, or of a delivery, with what it owes."""
        facts = ended(facts, status, reason, stage=stage, at=self.at, **members)
        drafts = [outcome_draft(self.topics, facts)]
        if status in ("failed", "returned"):
            drafts.append(failure_draft(self.topics, facts, self.mails[facts.envelope.mail_id], "test@example.org"))
        self.append(*drafts)
        return facts

    def replied(self, facts: Facts, status: Any = "sent", rule: str | None = None, kind: Any = "oops") -> None:
        """What became of the mail that an outcome owed."""
        assert facts.outcome and facts.outcome.reply_id
        event = ReplyEvent(facts.outcome.reply_id, status, kind, self.at, rule, "test@example.org" if status == "sent" else None)
        self.append(reply_event_draft(self.topics, facts.having(reply=event)))

    # -- the whole way ------------------------------------------------------------------------------------------------------------

    def handled(self, number: int, **raw: Any) -> Facts:
        """A mail that a handler has handled."""
        return self.outcome(self.routed(self.authenticated(self.screened(self.raw(number, **raw)))))

    def failed(self, number: int, reason: str = "handler-error", **members: Any) -> Facts:
        """A mail that a handler failed on."""
        return self.outcome(self.routed(self.authenticated(self.screened(self.raw(number)))), "failed", reason, **members)

    def passed(self, *roles: str) -> None:
        """Moves the groups of these roles (a handler's name for its own) past everything that is there now."""
        for role in roles:
            topics = {"bounce-filter": [self.topics.raw], "authentication": [self.topics.screened], "routing": [self.topics.authenticated]}
            group = role if role in CHAIN else f"handler.{role}"
            read = topics.get(role) or [self.topics.routed(role), *self.topics.retries(role)]
            consumer = self.log.consumer(self.topics.group(group), read)
            while (batch := consumer.poll(1000, 0)).positions:
                consumer.commit([], batch.positions).result()
            consumer.close()

    def all_passed(self) -> None:
        """Moves the groups of the chain and of the handlers past everything."""
        self.passed(*CHAIN, "bugs", "help")


def one_partition(story: Story) -> Story:
    """Another log of one partition a topic, so that the test knows where everything stands."""
    folder = story.path.parent / "one"
    folder.mkdir()
    return Story(folder, partitions=1)
