"""What a handler may say of a mail, for those who write handlers: `from handlers import Mail, Refuse, Reply, Retry`.

    def handle(mail: Mail) -> None | bool | Reply: ...      # or async def

None and True: handled. A `Reply`: handled, and the sender gets this answer, where the rules of silence let any mail go out.
False, and any exception but the two below: failed; the sender gets an OOPS mail. A handler is called at least once for a
delivery; whoever keeps something outside `mail.db` can tell a repeat by `mail.idempotency_key`.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from topology.replies.compose import Attachment

if TYPE_CHECKING:
    from handlers.mail import Mail

MAX_TEXT = 256 * 1024
"""Characters of a reply's text. Longer ones belong into an attachment or behind a link."""
MAX_REFUSAL = 8 * 1024
"""Characters of a refusal's text that go on: it stands in the facts of the outcome, which every later reader of it loads."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to the sender. The program adds the rest of the mail (addresses, threading, the marks of an automatic answer).

    text: plain text, wrapped as it is to be read. subject: None for "Re:" and the mail's own. html: the same for readers of HTML.
    headers: further fields, none that decides who gets the mail. attachments: see `Attachment`. Raises TypeError or ValueError
    for what cannot be sent; what only the composed mail shows (a header that may not be set) ends as the handler's error, too.
    """

    text: str
    subject: str | None = None
    html: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: Sequence[Attachment] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"a Reply's text is a str, not {type(self.text).__name__}")
        if len(self.text) > MAX_TEXT:
            raise ValueError(f"a Reply's text has at most {MAX_TEXT} characters, not {len(self.text)}: attach a file, or link to it")


class Refuse(Exception):
    """Raised by a handler: nothing is wrong with us, but this mail cannot be acted on, and the sender is told why. The outcome is
    `returned`, `refused`. text: for the sender, in whole sentences; wrapped at 72 columns, cut at MAX_REFUSAL characters. Work
    on `mail.db` is rolled back."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip():
            raise TypeError("Refuse needs a text for the sender")
        super().__init__(text)
        self.text = text


class Retry(Exception):
    """Raised by a handler: not now; call me again. Work on `mail.db` is rolled back. Later mails to the same recipient wait behind
    this one, all others go on. after: seconds or a timedelta, rounded up to the next of the usual delays; None for those in turn
    (30 s, 5 min, 1 h, and so on hourly). why: words for people who run the mail. After `give_up` the delivery is `failed`."""

    def __init__(self, after: float | timedelta | None = None, why: str = "the handler asked to be called again") -> None:
        seconds = after.total_seconds() if isinstance(after, timedelta) else after
        if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"Retry's after is a number of seconds from 0, a timedelta or None, not {after!r}")
        super().__init__(why)
        self.after = None if seconds is None else float(seconds)
        self.why = str(why)


class StrongRequired(Exception):
    """What `mail.demand_strong()` raises: this needs a proved sender. The outcome is `returned`, `strong-required`, and the sender is told
    how to prove it. Work on `mail.db` is rolled back."""


Function = Callable[["Mail"], bool | Reply | Awaitable[bool | Reply | None] | None]
"""What the settings' `python` names."""
