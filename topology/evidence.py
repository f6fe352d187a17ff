"""Recorded evidence: what authentication looked up when the mail came, so that a replay judges it as it was then.

A replay carries it in its own member, because authentication writes its member anew. Accounts and DNS answers are taken as they
were; signatures are judged again on the same bytes at the time of receipt. Only what the keyring decided stays as it was: the facts
have no key material, so a key that has been withdrawn or added since must not change the word on an old mail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from topology.answers import Answer
from topology.author import Author
from topology.facts import Authentication, Facts
from topology.openpgp import Signature, Verification
from topology.openpgp.result import SignedRange
from topology.ports import Account

_MEMBERS = (
    "sender",
    "account",
    "account_name",
    "account_active",
    "account_requires_strong",
    "account_fingerprints",
    "openpgp",
    "dns",
)
_BY_KEYS = frozenset({"good", "unknown-key", "expired-key", "revoked-key", "unusable-key"})
"""Verdicts that another keyring may turn into one another."""


def evidence_of(facts: Facts) -> dict[str, Any] | None:
    """What of the facts a replay is to be judged by, as `Replay.evidence` carries it; None where authentication never told of an
    author. A mail that came no further than the bounce filter in its last replay keeps what that one carried."""
    told = facts.authentication
    if told is None:
        return facts.replay.evidence if facts.replay else None
    if told.sender is None:
        return None
    kept = {name: value for name in _MEMBERS if (value := getattr(told, name))} | {"account_active": told.account_active}
    return kept | {"judged": True} if told.dkim else kept


@dataclass(frozen=True, slots=True)
class Evidence:
    """sender: the author or Sender as it was judged. accounts: whose the addresses were; an address that is not there had none that
    counted. answers: of DNS, by name. openpgp: what was found, None where nothing was judged. judged: DKIM signatures were, so one of
    the authors had an account, which was not proved."""

    sender: str
    accounts: Mapping[str, Account]
    answers: Mapping[str, Answer]
    openpgp: Verification | None
    judged: bool = False

    @classmethod
    def read(cls, facts: Facts) -> Self | None:
        """What the facts' replay carries; None where there is nothing, or nothing that can be read: then the world is asked."""
        document = facts.replay.evidence if facts.replay else None
        if not document:
            return None
        document = dict(document)
        judged = bool(document.pop("judged", False))
        try:
            told = Authentication(source=None, strength="unknown", **document)
            return cls(
                str(told.sender),
                _accounts(told),
                {name: Answer.from_evidence(value) for name, value in told.dns.items()},
                _verification(told.openpgp),
                judged,
            )
        except (TypeError, ValueError, AttributeError, KeyError):
            return None

    def is_about(self, who: Author) -> bool:
        """Whether it is about this author. Another release may read another author out of the mail, of whom nothing was asked then."""
        return self.sender in (who.from_, who.sender)

    def verification(self, now: Verification | None) -> Verification | None:
        """The word on the mail's OpenPGP signatures. now: what is found today, by the keys of today."""
        before = self.openpgp
        if before is None or now is None:
            return now
        by_keys = any(signature.verdict in _BY_KEYS for one in (before, now) for signature in one.signatures)
        return before if by_keys else now


def _accounts(told: Authentication) -> dict[str, Account]:
    if told.account is None or told.sender is None:
        return {}
    account = Account(
        told.account,
        told.account_name or "",
        told.account_active is not False,
        (told.sender,),
        tuple(told.account_fingerprints),
        told.account_requires_strong,
    )
    return {told.sender: account}


def _verification(document: dict[str, Any] | None) -> Verification | None:
    if not document or "signatures" not in document:
        return None
    signed = document.get("signed")
    signatures = tuple(Signature(**one) for one in document["signatures"])
    return Verification(document["form"], signatures, SignedRange(**signed) if signed else None)
