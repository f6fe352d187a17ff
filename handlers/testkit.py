"""For tests of handlers: build a mail, call the handler as postroom does, and look at its word.

from handlers.testkit import call, mail
from bugs import handle

def test_a_bug_that_does_not_exist_is_refused():
    word = call(handle, mail("From: ada@example.org\\n\\nhello", recipient="99@bugs.example.org", captures={"number": "99"}))
    assert word.reason == "refused" and word.detail == "There is no bug 99."
"""

import asyncio
import inspect
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlers.fingerprint import code_file
from handlers.interface import Function
from handlers.mail import Mail
from handlers.word import Said, of_raise, of_return
from streams.stage import Again
from topology import address, ids
from topology.facts import Authentication, Envelope, Facts, Replay, Route, Strength
from topology.head import HeadReader
from topology.ports import Account

if TYPE_CHECKING:
    from psycopg2.extensions import connection

__all__ = ["Again", "Said", "call", "facts", "mail"]

_FINGERPRINT = "7E57" * 10


def mail(source: bytes | str | Path, *, recipient: str = "handler@example.org", db: "connection | None" = None, **known: Any) -> Mail:
    """A mail as a handler gets it. source: its bytes, its text, or the path of an .eml file. db: what `mail.db` is; commit or roll back
    yourself. known: see `facts`."""
    raw = source.read_bytes() if isinstance(source, Path) else source.encode() if isinstance(source, str) else source
    return Mail(facts(raw, recipient=recipient, **known), raw, db)


def facts(
    raw: bytes,
    *,
    recipient: str = "handler@example.org",
    sender: str | None = None,
    envelope_sender: str | None = None,
    account: Account | None = None,
    strength: Strength | None = None,
    signed: bool = False,
    captures: Mapping[str, str] | None = None,
    generation: int = 0,
    redo: bool = False,
) -> Facts:
    """What the stages before would have found. sender: None takes the address in From; envelope_sender: None takes the sender's.
    account: whose mail it is; strength: None stands for "weak" with an account and "unknown" without. signed: the body counts as
    signed by the account (and the mail as strong). captures: what the handler's pattern would have caught. Raises ValueError for
    an address that is none."""
    head = HeadReader().read(raw)
    author = _key(sender) if sender is not None else address.key(head.first("from") or "")
    route = _key(recipient)
    mail_id = ids.mail_id(author, sha256(raw).digest(), None)
    openpgp = None
    if signed:
        account = account or Account("tester", "Tester")
        span = {"form": "clear", "part": "", "decoded": False, "start": head.body, "end": len(raw), "charset": "utf-8"}
        openpgp = {"signatures": [{"verdict": "good", "fingerprint": _FINGERPRINT}], "signed": span}
    return Facts(
        Envelope(
            mail_id,
            author if envelope_sender is None else address.envelope_key(envelope_sender),
            (recipient,),
            "2026-01-01T00:00:00.000Z",
            "lmtp",
            len(raw),
            sha256(raw).hexdigest(),
            head.first("message-id"),
        ),
        authentication=Authentication(
            author,
            "from",
            strength or ("strong" if signed else "weak" if account else "unknown"),
            account=account.id if account else None,
            account_name=account.name if account else None,
            account_active=True if account else None,
            account_fingerprints=(_FINGERPRINT,) if signed else account.fingerprints if account else (),
            openpgp=openpgp,
        ),
        route=Route(ids.delivery_id(mail_id, route), "test", route, recipient, "envelope", dict(captures or {})),
        replay=Replay(generation, redo=redo) if generation else None,
    )


def call(handle: Function, to_handle: Mail) -> Said | Again:
    """The word of a handler, plain or async, on a mail: a `Said` (status, reason, detail, reply), or `Again` for one that raised Retry.
    What it raised by mistake is in `Said.error`."""
    known = to_handle._facts
    try:
        value: object = handle(to_handle)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its word
        return of_raise(error, code_file(handle))
    return of_return(value, known)


def _key(text: str) -> str:
    found = address.key(text)
    if found is None:
        raise ValueError(f"{text!r} is no mail address")
    return found
