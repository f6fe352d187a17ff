"""How facts and mails become records: topics, keys, and CloudEvents 1.0 headers (Kafka protocol binding, binary mode).

A mail's record has the mail, byte for byte, as its value and the facts in the header `ce_facts`; a fact's record has the facts as
its value. Required attributes only: ce_specversion, ce_id, ce_type, ce_source, content-type.
"""

from functools import lru_cache

from streams.record import Draft, Headers, Position, Record
from topology import ids
from topology.address import key as address_key
from topology.facts import Envelope, Facts

FACTS = "ce_facts"
ATTEMPT = "pr_attempt"
"""On retries: how often the delivery has been tried, in decimal."""
CAME = "pr_came"
"""On screened records: when the raw record was appended, in decimal ms since 1970."""
FACTS_ROOM = 131_072
"""Octets that the facts, the headers and the record's own frame take at most: 32 KiB of evidence, 100 recipients, and what stages add."""
_MAIL = b"message/rfc822"
_JSON = b"application/json"


class Document(bytes):
    """Facts as they are written, which know what they say: the process that wrote a record need not read it again.

    facts: what `Facts.decode` makes of these bytes."""

    facts: Facts


class Topics:
    """The full names of the topics under a prefix. Handler names are checked by the settings: lower-case letters, digits, `-`, `_`."""

    RETRIES = 3
    """mail.retry.<name>.1 to .3, one a delay."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.source = f"/postroom/{prefix}".encode()
        self.raw = f"{prefix}.raw"
        self.screened = f"{prefix}.screened"
        self.authenticated = f"{prefix}.authenticated"
        self.outcomes = f"{prefix}.outcomes"
        self.failures = f"{prefix}.failures"
        self.answers = f"{prefix}.answers"
        self.replies = f"{prefix}.replies"
        self.replays = f"{prefix}.replays"

    def routed(self, handler: str) -> str:
        """Where deliveries to a handler go."""
        return f"{self.prefix}.routed.{handler}"

    def said(self, handler: str) -> str:
        """What a handler on Faust said."""
        return f"{self.prefix}.said.{handler}"

    def retries(self, handler: str) -> list[str]:
        """The retry topics of a handler, shortest delay first."""
        return [f"{self.prefix}.retry.{handler}.{level}" for level in range(1, self.RETRIES + 1)]

    def reply_retries(self) -> list[str]:
        """The retry topics of the postman."""
        return [f"{self.replies}.retry.{level}" for level in range(1, self.RETRIES + 1)]

    def group(self, role: str) -> str:
        """The consumer group of a role: bounce-filter, authentication, routing, handler.<name>, settle.<name>, replyer, postman."""
        return f"postroom.{self.prefix}.{role}"


def _headers(source: bytes, kind: bytes, id_: str, content_type: bytes) -> Headers:
    return (_SPECVERSION, ("ce_id", id_.encode()), *_same(source, kind, content_type))


_SPECVERSION = ("ce_specversion", b"1.0")


@lru_cache(maxsize=256)
def _same(source: bytes, kind: bytes, content_type: bytes) -> Headers:
    """What all records of a kind have alike."""
    return ("ce_type", b"postroom." + kind), ("ce_source", source), ("content-type", content_type)


def mail_draft(
    topics: Topics,
    topic: str,
    kind: bytes,
    id_: str,
    key: str,
    facts: Facts,
    mail: bytes,
    *,
    headers: Headers = (),
    unique: bytes | None = None,
    hands_on: bool = True,
) -> Draft:
    """A record that carries the mail (empty where it lives in the archive). hands_on: whether the log may hand it on as it is
    (`streams.log.Log`), and then with what its facts say."""
    document = facts.encode()
    if hands_on:
        document = Document(document)
        document.facts = facts
    return Draft(
        topic,
        key.encode(),
        mail,
        (*_headers(topics.source, kind, id_, _MAIL), (FACTS, document), *headers),
        digest=None if facts.envelope.truncated or not mail else bytes.fromhex(facts.envelope.digest),
        unique=unique,
    )


def fact_draft(
    topics: Topics,
    topic: str,
    kind: bytes,
    id_: str,
    key: bytes | None,
    facts: Facts,
    *,
    partition: int | None = None,
    carried: bool = False,
    headers: Headers = (),
) -> Draft:
    """A record that is the facts. headers: beside those of every record."""
    return Draft(topic, key, facts.encode(), (*_headers(topics.source, kind, id_, _JSON), *headers), partition, carried)


def raw_draft(topics: Topics, envelope: Envelope, mail: bytes) -> Draft:
    """A hand-over for mail.raw, keyed by the envelope sender so that one sender's mails keep their order, or by the mail id where
    there is none or it is the null sender, so that a bounce storm spreads and a repeat meets its first."""
    hand_over = ids.hand_over_id(envelope.mail_id, (recipient_key(r) for r in envelope.recipients))
    return mail_draft(
        topics, topics.raw, b"raw", hand_over.decode(), envelope.sender or envelope.mail_id, Facts(envelope), mail, unique=hand_over
    )


def recipient_key(recipient: str) -> str:
    """A recipient as compared; one that cannot be read stands for itself, so that ids can still be made of it."""
    return address_key(recipient) or recipient


def outcome_draft(topics: Topics, facts: Facts) -> Draft:
    """An outcome, keyed by the mail id."""
    assert facts.outcome
    return fact_draft(topics, topics.outcomes, b"outcome", facts.outcome.outcome_id, facts.envelope.mail_id.encode(), facts)


def failure_draft(topics: Topics, facts: Facts, mail: bytes, to: str | None) -> Draft:
    """What owes the sender an answer, with the mail itself; keyed by the address to be written to, or the mail id where nobody is."""
    assert facts.outcome
    return mail_draft(topics, topics.failures, b"failure", facts.outcome.outcome_id + ".failure", to or facts.envelope.mail_id, facts, mail)


def answer_draft(topics: Topics, topic: str, kind: bytes, facts: Facts, message: bytes, to: str) -> Draft:
    """A message of ours without the original, for mail.answers (kind b"answer") or mail.replies (b"reply"). facts.outcome says about
    what, and facts.raw where the original stands."""
    assert facts.outcome and facts.outcome.reply_id
    return Draft(
        topic,
        to.encode(),
        message,
        (
            *_headers(topics.source, kind, f"{facts.outcome.reply_id}.{kind.decode()}", _MAIL),
            (FACTS, facts.encode()),
            *original_headers(facts.raw),
        ),
    )


def reply_event_draft(topics: Topics, facts: Facts) -> Draft:
    """A reply event, to stand beside the outcomes; keyed by the mail id."""
    assert facts.reply
    return fact_draft(
        topics, topics.outcomes, b"reply", f"{facts.reply.reply_id}.{facts.reply.status}", facts.envelope.mail_id.encode(), facts
    )


def original_headers(raw: Position | None) -> Headers:
    """Where the original mail stands, for records that carry something else."""
    return (("pr_original", f"{raw.log}/{raw.topic}/{raw.partition}/{raw.offset}".encode()),) if raw else ()


def facts_of(record: Record) -> Facts:
    """The facts of a record of ours, from its header or its value. Raises Newer, ValueError."""
    header = record.header(FACTS)
    return facts_in(record.value if header is None else header)


def facts_in(document: bytes) -> Facts:
    """The facts that a header or a value is. Raises Newer, ValueError."""
    return document.facts if type(document) is Document else Facts.decode(document)
