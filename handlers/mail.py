"""The mail that a handler is called with."""

from email.message import EmailMessage
from functools import cached_property
from typing import TYPE_CHECKING, Any

from handlers.interface import StrongRequired
from topology.facts import Authentication, Facts, Strength
from topology.ports import Account

if TYPE_CHECKING:
    from psycopg2.extensions import connection


class Mail:
    """One delivery: a mail to one recipient. Whatever takes work is done at its first use.

    raw: the bytes exactly as received. recipient: the address that it was routed by, as compared (lower case, A-label domain).
    envelope_sender: MAIL FROM as compared, "" for the null sender, None when there was none. sender: the author as compared, or None;
    trust it as far as `strength` goes: "strong" is proved, "weak" is what From says and an account has, "unknown" is anybody.
    id: the mail's; delivery_id: of this mail to this recipient. generation: 0, or the number of the replay that brings it.
    idempotency_key: the same each time that this call is repeated, so what was done under it need not be done again; the delivery
    id, and in a replay with --redo that and the generation. captures: what the handler's pattern caught in the local part.
    """

    def __init__(self, facts: Facts, raw: bytes, db: "connection | None" = None) -> None:
        assert facts.route
        self.raw = raw
        self._facts = facts
        self._route = facts.route
        self._db = db

    @property
    def id(self) -> str:
        return self._facts.envelope.mail_id

    @property
    def delivery_id(self) -> str:
        return self._route.delivery_id

    @property
    def idempotency_key(self) -> str:
        return idempotency_key(self._facts)

    @property
    def generation(self) -> int:
        return self._facts.generation

    @property
    def recipient(self) -> str:
        return self._route.recipient

    @property
    def envelope_sender(self) -> str | None:
        return self._facts.envelope.sender

    @property
    def sender(self) -> str | None:
        return self._facts.authentication.sender if self._facts.authentication else None

    @property
    def strength(self) -> Strength:
        return self._facts.authentication.strength if self._facts.authentication else "unknown"

    def demand_strong(self) -> None:
        """For a command that only a proved sender may give: returns when the sender is one, else raises `StrongRequired`. Let it pass: the
        mail is returned, with words on how to sign. Where the command must stand in the signed part, see `signed_text`."""
        if self.strength != "strong":
            raise StrongRequired(f"the sender is {self.strength}")

    @property
    def captures(self) -> dict[str, str]:
        return dict(self._route.captures)

    @cached_property
    def account(self) -> Account | None:
        """Whom the sender is to the product (id, name …), or None. With strength "weak" anybody may have written that From."""
        known = self._facts.authentication
        if known is None or known.account is None:
            return None
        return Account(
            known.account,
            known.account_name or "",
            active=known.account_active is not False,
            fingerprints=known.account_fingerprints,
            require_strong=known.account_requires_strong,
        )

    @cached_property
    def message(self) -> EmailMessage:
        """The mail as the standard library reads it. Hostile bytes raise nothing here; a field that cannot be read is empty."""
        from handlers.message import parse

        return parse(self.raw)

    @cached_property
    def signed_text(self) -> str | None:
        """The text that a good OpenPGP signature by a key of the account covers, and nothing that stood round it; None when there
        is no such signature, or it counts as none (`openpgp_legacy`). Commands that need proof belong in here."""
        known = self._facts.authentication
        signed = _signed_range(known) if known else None
        if signed is None:
            return None
        from topology.openpgp import SignedRange, signed_text

        return signed_text(self.raw, SignedRange(**signed))

    @property
    def db(self) -> "connection":
        """A connection to the handler's database in a transaction that ends with the handler: committed when it handled the mail,
        else rolled back. Raises RuntimeError when the handler has no `database`."""
        if self._db is None:
            raise RuntimeError(f"mail.db needs a database: set [handlers.{self._route.handler}] database")
        return self._db

    def __repr__(self) -> str:
        return f"<Mail {self.id} to {self.recipient}>"


def idempotency_key(facts: Facts) -> str:
    """See `Mail.idempotency_key`."""
    assert facts.route
    if facts.replay and facts.replay.redo:
        return f"{facts.route.delivery_id}.{facts.replay.generation}"
    return facts.route.delivery_id


def _signed_range(known: Authentication) -> dict[str, Any] | None:
    """The signed range of the evidence, when a key of the account made the signature: a good one by anybody else's proves nothing, and
    one of a kind that is no longer trusted only what it was taken for."""
    openpgp = known.openpgp or {}
    by_account = any(
        one["verdict"] == "good"
        and one["fingerprint"] in known.account_fingerprints
        and (known.method == "openpgp" or not one.get("legacy"))
        for one in openpgp.get("signatures", ())
    )
    return openpgp.get("signed") if by_account else None
