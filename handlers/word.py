"""What a handler said of one delivery, as a value: `Said`, or `streams.stage.Again` when it asks for time."""

import inspect
import reprlib
from dataclasses import dataclass, field, replace
from typing import Any, Self

import orjson

from handlers import fingerprint
from handlers.interface import MAX_REFUSAL, Refuse, Reply, Retry, StrongRequired
from streams.faults import Newer
from streams.stage import Again
from topology.facts import Facts, Status
from topology.replies import compose

WORD_VERSION = 1


@dataclass(frozen=True, slots=True)
class Said:
    """One word. status, reason, detail, fingerprint: as in the outcome (`topology.facts.Outcome`). reply: the answer it gave.
    entity: that answer composed for this delivery, where it was; error: the exception behind a failure; neither is encoded."""

    status: Status
    reason: str | None = None
    detail: str | None = None
    fingerprint: str | None = None
    reply: Reply | None = None
    entity: bytes | None = field(default=None, compare=False)
    error: BaseException | None = field(default=None, compare=False)

    def encode(self) -> bytes:
        """The word as JSON."""
        reply = self.reply and {
            "text": _whole(self.reply.text),
            "subject": _whole(self.reply.subject),
            "html": _whole(self.reply.html),
            "headers": {_whole(name): _whole(value) for name, value in self.reply.headers.items()},
            "attachments": [[_whole(a.filename), a.content.hex(), _whole(a.media_type)] for a in self.reply.attachments],
        }
        document = {"version": WORD_VERSION, "status": self.status, "reason": self.reason, "detail": self.detail}
        return orjson.dumps(document | {"fingerprint": self.fingerprint, "reply": reply})

    @classmethod
    def decode(cls, data: bytes | str) -> Self:
        """The inverse of `encode`, but for what is not encoded. Raises Newer."""
        document: dict[str, Any] = orjson.loads(data)
        if document["version"] > WORD_VERSION:
            raise Newer(
                f"a handler's word of version {document['version']}; this program reads version {WORD_VERSION}: upgrade postroom here"
            )
        reply = document["reply"]
        if reply is not None:
            reply["attachments"] = tuple(
                compose.Attachment(name, bytes.fromhex(content), kind) for name, content, kind in reply["attachments"]
            )
        return cls(
            document["status"],
            document["reason"],
            document["detail"],
            document["fingerprint"],
            Reply(**reply) if reply else None,
        )


def _whole(text: str | None) -> str | None:
    return None if text is None else fingerprint.plain(text, len(text))


Word = Said | Again

HANDLED = Said("handled")
GONE = Said("failed", "mail-gone", "the mail is gone: it has expired or was erased")


def of_return(value: object, facts: Facts) -> Said:
    """What a returned value means for the delivery of these facts. Never raises."""
    try:
        return _returned(value, facts)
    except BaseException as error:  # noqa: BLE001 - a value may raise whatever it likes when it is looked at
        return Said("failed", "handler-error", f"what the handler returned: {fingerprint.in_words(error)}", fingerprint.of("returned"))


def _returned(value: object, facts: Facts) -> Said:
    if value is None or value is True:
        return HANDLED
    if value is False:
        return Said("failed", "handler-false", "the handler returned False", fingerprint.of("handler-false"))
    if isinstance(value, Reply):
        return _answered(value, facts)
    return _misused(value)


def _misused(value: object) -> Said:
    kind = type(value).__qualname__
    hint = ""
    if inspect.iscoroutine(value):
        value.close()
        hint = "; write `async def`, or await it"
    elif isinstance(value, Refuse | Retry):
        hint = "; raise it instead"
    # The value may be the whole mail, and may be secret: its beginning is enough to know it by.
    detail = f"the handler returned {kind} {reprlib.repr(value)}, but a handler returns None, True, False or a Reply{hint}"
    return Said("failed", "handler-error", fingerprint.plain(detail, 500), fingerprint.of("returned", kind))


def of_raise(error: BaseException, own_file: str | None) -> Word:
    """What an exception out of a handler means. own_file: the file the handler is written in, for the fingerprint. Never raises."""
    # A class of the handler's own may be without what ours sets (`super().__init__` was not called), or have something else there.
    text, why, after = (_of(error, name) for name in ("text", "why", "after"))
    if isinstance(error, Refuse) and isinstance(text, str):
        return Said("returned", "refused", fingerprint.plain(text, MAX_REFUSAL))
    if isinstance(error, StrongRequired):
        return Said("returned", "strong-required", "the handler takes this of proven senders only")
    if isinstance(error, Retry) and isinstance(why, str) and (after is None or isinstance(after, int | float)):
        return Again(fingerprint.plain(why, 500), after=after)
    return Said("failed", "handler-error", fingerprint.in_words(error), fingerprint.fingerprint(error, own_file), error=error)


def _of(error: BaseException, name: str) -> object:
    try:
        return getattr(error, name, None)
    except BaseException:  # noqa: BLE001 - a property of somebody else's class
        return None


def composed(said: Said, facts: Facts) -> bytes:
    """The entity of the word's reply for mail.answers."""
    if said.entity is not None:
        return said.entity
    reply = said.reply
    assert reply
    return compose.answer(facts, reply.text, reply.subject, html=reply.html, headers=reply.headers, attachments=reply.attachments)


def _answered(reply: Reply, facts: Facts) -> Said:
    """Composes at once, so that a reply that cannot be sent is the handler's error, before its transaction is committed."""
    said = Said("handled", reply=reply)
    try:
        said.encode()
        return replace(said, entity=composed(said, facts))
    except Exception as error:  # noqa: BLE001 - whatever is wrong in a reply, the handler made it
        return Said(
            "failed",
            "handler-error",
            f"its Reply: {fingerprint.in_words(error)}",
            fingerprint.of("reply", type(error).__name__),
            error=error,
        )
