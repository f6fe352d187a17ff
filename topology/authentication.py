"""The second stage: who wrote the mail, how sure we are, and whether that ends it (DESIGN.md section 5 has the order).

prepare asks for everything at once: the accounts of all authors in one query, then the DKIM keys of those mails whose author has
one, side by side. decide judges one mail by what was looked up, at its receive time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from topology import author, dkim
from topology.answers import Answer
from topology.author import Author
from topology.ending import whole
from topology.facts import Authentication, Facts, Status, rfc3339, to_ms
from topology.head import HeadReader
from topology.item import Decision, Item
from topology.openpgp import Keyring, Verification, may_be_signed, verify
from topology.ports import Account, Directory, Resolver
from topology.proofs import DomainProof, Policy, by_domain, by_openpgp
from topology.records import Topics
from topology.step import LaterStep, MailGone, MailSource


@dataclass(slots=True)
class _Known:
    """What prepare found for a batch. signed: the DKIM signatures of the mails (by place in the batch) that are worth judging."""

    at: str
    accounts: Mapping[str, Account] = field(default_factory=dict)
    authors: dict[int, Author] = field(default_factory=dict)
    signed: dict[int, tuple[dkim.Signed, ...]] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)


class AuthenticationStep(LaterStep):
    """mail.screened -> mail.authenticated, or an outcome."""

    name = "authentication"

    def __init__(
        self,
        topics: Topics,
        reader: HeadReader,
        mails: MailSource,
        directory: Directory,
        resolver: Resolver,
        keys: Keyring,
        policy: Policy,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(reader, mails)
        self.source = topics.screened
        self.target = topics.authenticated
        self._directory = directory
        self._resolver = resolver
        self._keys = keys
        self._policy = policy
        self._clock = clock

    def prepare(self, items: Sequence[Item]) -> _Known:
        """One account query for all authors; DNS for the keys of those that have one."""
        known = _Known(rfc3339(self._clock()))
        self._keys.reload()
        known.authors = {id(item): author.read(item.head) for item in items}
        addresses = {address for one in known.authors.values() for address in (one.from_, one.sender) if address}
        known.accounts = self._directory.lookup(addresses) if addresses else {}
        for item in items:
            one = known.authors[id(item)]
            if "dkim-signature" in item.head and item.mail is not None and (one.from_ in known.accounts or one.sender in known.accounts):
                known.signed[id(item)] = dkim.signatures(item.mail)
        names = {signature.dns_name for signed in known.signed.values() for signature in signed if signature.dns_name}
        known.answers = self._resolver.txt(names) if names else {}
        return known

    def decide(self, item: Item, prepared: _Known) -> Decision:
        """The authentication member, and what it ends. Raises MailGone."""
        facts = item.facts
        if item.mail is None:
            raise MailGone(facts)
        who = prepared.authors[id(item)]
        if who.ambiguous:
            reason = "two From fields, or several authors and no single Sender"
            facts = facts.having(authentication=Authentication(None, None, "unknown", reason=reason))
            return self._end(facts, "rejected", "from-ambiguous", prepared, reason)
        proof = self._by_domain(item, who, prepared)
        account = proof.account or prepared.accounts.get(who.address or "")
        address = proof.address or who.address
        source = None if address is None else "from" if address == who.from_ else "sender"
        fact = Authentication(address, source, "unknown", reason=proof.reason, dkim=proof.dkim, results=proof.results, dns=proof.dns)
        if account is None:
            fact = replace(fact, openpgp=self._unjudged(item), reason=proof.reason or "no account has the author's address")
            return self._passed(facts.having(authentication=fact), prepared)
        fact = replace(
            fact,
            strength="strong" if proof.account else "weak",
            account=account.id,
            account_name=account.name,
            account_active=account.active,
            account_requires_strong=account.require_strong,
            account_fingerprints=account.fingerprints,
            method=proof.method,
        )
        if not account.active:
            return self._end(
                facts.having(authentication=fact), "rejected", "inactive-account", prepared, f"account {account.id} is not active"
            )
        return self._of_account(item, facts, fact, account, who, prepared)

    def _of_account(self, item: Item, facts: Facts, fact: Authentication, account: Account, who: Author, known: _Known) -> Decision:
        """The mail of an active account: OpenPGP, and what the account demands."""
        assert item.mail is not None
        if facts.envelope.truncated:
            return self._passed(facts.having(authentication=fact), known)
        verification = self._verify(item, facts)
        word = by_openpgp(verification, account, self._policy, to_ms(facts.envelope.received_at))
        if verification:
            fact = replace(fact, openpgp=asdict(verification))
        if fact.strength == "strong":  # by the domain: a fault of OpenPGP is only recorded
            return self._passed(facts.having(authentication=fact), known)
        if word.ends:
            return self._end(
                facts.having(authentication=replace(fact, reason=word.reason)), "returned", word.ends, known, word.reason or ""
            )
        if word.strength == "strong" and not who.shared:
            fact = replace(fact, strength="strong", method="openpgp", reason=None)
        else:
            reason = "; ".join(part for part in (fact.reason, word.reason) if part)
            fact = replace(
                fact, reason=reason if not who.shared else "From names several authors, so Sender's account counts at most as weak"
            )
        facts = facts.having(authentication=fact)
        if account.require_strong and fact.strength != "strong":
            return self._end(facts, "returned", "strong-required", known, f"account {account.id} demands proof of the sender")
        return self._passed(facts, known)

    def _verify(self, item: Item, facts: Facts) -> Verification | None:
        assert item.mail is not None
        content_type = item.head.first("content-type")
        if not may_be_signed(content_type.encode("utf-8", "surrogateescape") if content_type else None, item.mail):
            return None
        return verify(item.mail, to_ms(facts.envelope.received_at), self._keys)

    def _unjudged(self, item: Item) -> dict[str, Any] | None:
        """A sender without an account: that there is a signature is recorded, and it is not judged."""
        assert item.mail is not None
        content_type = item.head.first("content-type")
        signed = may_be_signed(content_type.encode("utf-8", "surrogateescape") if content_type else None, item.mail)
        return {"judged": False} if signed else None

    def _passed(self, facts: Facts, known: _Known) -> Decision:
        if facts.envelope.truncated:
            detail = f"the mail has {facts.envelope.size} octets"
            return self._end(facts, "returned", "too-large", known, detail)
        return Decision(facts, onward=True)

    def _by_domain(self, item: Item, who: Author, known: _Known) -> DomainProof:
        """DKIM and the trusted Authentication-Results field; nothing of it for a mail of which only the beginning was kept."""
        signed = known.signed.get(id(item), ())
        told = self._policy.authserv_id and "authentication-results" in item.head
        if item.facts.envelope.truncated or not (signed or told):
            return _NO_PROOF
        received = to_ms(item.facts.envelope.received_at)
        return by_domain(item.head, who, known.accounts, signed, known.answers, self._policy, received)

    def _end(self, facts: Facts, status: Status, reason: str, known: _Known, detail: str) -> Decision:
        return whole(facts, status, reason, stage=self.name, at=known.at, detail=detail)


_NO_PROOF = DomainProof()
