"""The replyer: mail.failures and mail.answers -> mail.replies, or the reply event `silent`.

It decides whether anybody is written to, and writes the finished message without the original, which the postman attaches. It keeps
no state and reads no clock, so a reply written again is the same, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streams.record import Draft, Position, Record
from streams.stage import Failure, Result, Stage
from topology.address import parse
from topology.ending import sender_of
from topology.facts import Facts, rfc3339
from topology.ports import Archive, Mails
from topology.records import Topics, answer_draft, facts_of
from topology.replies import compose, silence, stow
from topology.replies.events import event, given_up
from topology.replies.originals import fetched, kept
from topology.replies.templates import Context, Templates


@dataclass(frozen=True, slots=True)
class ReplyPolicy:
    """The settings of our mails. sender: the address that we write from (`replies.from`), plain ASCII. help: where to ask
    (`replies.help`); None for the postmaster of the sender's domain, who must exist (RFC 5321 section 4.5.1). max_size: octets of
    the largest mail that is taken. Raises ValueError naming the setting at fault."""

    answer: silence.Answer = "accounts"
    sender: str = "postroom@localhost"
    help: str | None = None
    max_size: int = 10 << 20
    templates: Templates = field(default_factory=Templates)

    def __post_init__(self) -> None:
        address = parse(self.sender)
        if address is None or not self.sender.isascii() or self.sender != f"{address.local}@{address.domain}":
            raise ValueError(f"replies.from: {self.sender!r} is no plain address in ASCII; write it as postroom@example.org")

    @property
    def context(self) -> Context:
        """What the settings add to the words."""
        return Context(self.help or f"postmaster@{self.sender.rpartition('@')[2]}", self.max_size)


class Replyer(Stage):
    """See the module. inline_limit: octets above which a message of ours goes to the archive."""

    name = "replyer"

    def __init__(self, topics: Topics, policy: ReplyPolicy, archive: Archive, mails: Mails, inline_limit: int) -> None:
        self._topics = topics
        self._policy = policy
        self._context = policy.context
        address = parse(policy.sender)
        self._own = address.key if address else None
        self._archive = archive
        self._mails = mails
        self._inline_limit = inline_limit
        self.sources = (topics.failures, topics.answers)

    def process(self, records: Sequence[Record]) -> list[Result]:
        """One mail or one event a record. Raises Hold when the archive is away, Newer."""
        known = [facts_of(record) for record in records]
        rules = [silence.silent(facts, self._policy.answer, self._own) for facts in known]
        answered = [
            facts.raw
            for record, facts, rule in zip(records, known, rules, strict=True)
            if rule is None and facts.raw and record.topic == self._topics.answers and not facts.envelope.archived
        ]
        originals = fetched(self._mails, answered)
        return [
            [self._silent(record, facts, rule)] if rule else [self._reply(record, facts, originals)]
            for record, facts, rule in zip(records, known, rules, strict=True)
        ]

    def failed(self, record: Record, failure: Failure) -> list[Draft]:
        """A fault about one reply is `given-up`, never an OOPS about an OOPS."""
        return given_up(self._topics, record, failure, rfc3339(record.time))

    def _silent(self, record: Record, facts: Facts, rule: str) -> Draft:
        return event(self._topics, facts, "silent", rule=rule, at=rfc3339(record.time))

    def _reply(self, record: Record, facts: Facts, originals: Mapping[Position, Record]) -> Draft:
        if record.topic == self._topics.answers:
            entity = stow.message_of(record, self._archive)
            original = kept(facts, originals, self._archive)
            if entity is None:
                return event(self._topics, facts, "given-up", rule="answer-gone", at=rfc3339(record.time))
        else:
            entity = compose.notice(facts, self._policy.templates.text(facts, self._context))
            original = record.value or (self._archive.get(facts.envelope.archived) if facts.envelope.archived else None)
        message = compose.finished(facts, self._policy.sender, original, entity)
        to = sender_of(facts)
        assert to
        return stow.stowed(
            answer_draft(self._topics, self._topics.replies, b"reply", facts, message, to), self._archive, self._inline_limit
        )
