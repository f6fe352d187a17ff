"""What the tests of handlers share: routed mails as records, a stage on real parts, and reading what it writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from handlers.batch import Handler
from handlers.registry import HandlerSpec, build
from handlers.stage import HandlerStage
from handlers.testkit import facts as facts_of_mail
from postroom.archive import ObjectArchive
from postroom.oopses import OopsReports
from streams.record import Draft, Record
from streams.stage import Result
from topology.facts import Facts
from topology.records import Topics, facts_of, mail_draft

TOPICS = Topics("mail")
NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def raw_mail(number: int = 0, sender: str = "ada@example.org") -> bytes:
    """A small mail, different for each number."""
    return f"From: {sender}\nMessage-ID: <{number}@example.org>\nSubject: no. {number}\n\nhello {number}\n".encode()


def routed(
    number: int = 0, raw: bytes | None = None, *, recipient: str = "box@foo.example", offset: int | None = None, **known: Any
) -> Record:
    """A record of mail.routed.test. known: see `handlers.testkit.facts`."""
    mail = raw_mail(number, known.get("sender") or "ada@example.org") if raw is None else raw
    return record_of(facts_of_mail(mail, recipient=recipient, **known), mail, number if offset is None else offset)


def record_of(facts: Facts, mail: bytes, offset: int) -> Record:
    """The record that routing writes of these facts."""
    assert facts.route
    draft = mail_draft(TOPICS, TOPICS.routed("test"), b"routed", f"{offset}", facts.route.recipient, facts, mail)
    return Record(draft.topic, 0, offset, NOW_MS, draft.key, draft.value, draft.headers)


def stage_of(handler: Handler, folder: Path, **options: Any) -> HandlerStage:
    """The stage of a handler, with a real archive and real OOPS reports below the folder."""
    archive = ObjectArchive("file:archive/", folder)
    return HandlerStage(handler, TOPICS, archive, OopsReports(folder / "oops"), lambda: NOW_MS, **options)


def built(folder: Path, **settings: Any) -> Handler:
    """A handler built by the registry, as the program does it."""
    return build(HandlerSpec(name="test", **settings), folder)


def outcomes(results: Sequence[Result]) -> list[str]:
    """What became of each record: "handled", "failed handler-error", or the word of an Again."""
    return [one(result) for result in results]


def one(result: Result) -> str:
    """As `outcomes`, of one."""
    if not isinstance(result, list):
        return "follows" if result.follows else "timeout" if result.timeout else "again"
    outcome = outcome_of(result)
    return f"{outcome.status} {outcome.reason}" if outcome.reason else outcome.status


def outcome_of(result: Result) -> Any:
    """The outcome among what is to be written of one record."""
    return facts_of_draft(written(result, TOPICS.outcomes)[0]).outcome


def written(result: Result, topic: str) -> list[Draft]:
    """The drafts for a topic."""
    assert isinstance(result, list), result
    return [draft for draft in result if draft.topic == topic]


def facts_of_draft(draft: Draft) -> Facts:
    """The facts of a draft."""
    return facts_of(Record(draft.topic, 0, 0, NOW_MS, draft.key, draft.value, draft.headers))


Handle = Callable[[Any], Any]
