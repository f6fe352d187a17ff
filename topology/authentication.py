"""The second stage: who wrote the mail, how sure we are, and whether that ends it (DESIGN.md section 5 has the order).

prepare asks for everything at once: the accounts of all authors in one query, then the DKIM keys of those mails whose author has
one, side by side. decide judges one mail by what was looked up, at its receive time.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from topology import author, dkim
from topology.answers import Answer
from topology.aspect import Aspect, of_fields
from topology.author import Author
from topology.ending import whole
from topology.evidence import Evidence
from topology.facts import Authentication, Facts, Status, rfc3339, to_ms
from topology.head import Head, HeadReader
from topology.item import Decision, Item
from topology.openpgp import Keyring, KeyringError, Verification, as_of, may_be_signed, verify
from topology.ports import Account, Directory, Resolver
from topology.proofs import DomainProof, Policy, by_domain, by_openpgp
from topology.records import Topics
from topology.step import LaterStep, MailGone, MailSource

log = logging.getLogger("postroom.authentication")


@dataclass(slots=True)
class _Known:
    """What prepare found for a batch. signed: the DKIM signatures of the mails (by place in the batch) that are worth judging.
    recorded: of the mails of replays, what was looked up when they came; nothing is asked for these."""

    at: str
    accounts: Mapping[str, Account] = field(default_factory=dict)
    authors: dict[int, Author] = field(default_factory=dict)
    signed: dict[int, tuple[dkim.Signed, ...]] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    recorded: dict[int, Evidence] = field(default_factory=dict)

    def accounts_for(self, item: Item) -> Mapping[str, Account]:
        """Whose the addresses of this mail are, or were."""
        return self.recorded[id(item)].accounts if id(item) in self.recorded else self.accounts

    def answers_for(self, item: Item) -> Mapping[str, Answer]:
        """What DNS says, or said, of this mail's names."""
        return self.recorded[id(item)].answers if id(item) in self.recorded else self.answers


class _Sender(NamedTuple):
    """Whose mail it is."""

    who: Author
    address: str | None
    source: str | None
    account: Account
    proof: DomainProof


class AuthenticationStep(LaterStep):
    """mail.screened -> mail.authenticated, or an outcome."""

    name = "authentication"
    asks = True

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
        self._keys_fault = ""

    def prepare(self, items: Sequence[Item]) -> _Known:
        """One account query for all authors; DNS for the keys of those that have one; nothing for mails of a replay that carry what
        was looked up then. Raises Hold."""
        known = _Known(rfc3339(self._clock()))
        known.authors = {id(item): author.read(item.head) for item in items}
        known.recorded = {
            id(item): evidence
            for item in items
            if item.facts.replay and (evidence := Evidence.read(item.facts)) and evidence.is_about(known.authors[id(item)])
        }
        asking = [who for place, who in known.authors.items() if place not in known.recorded]
        addresses = {address for one in asking for address in (one.from_, one.sender) if address}
        known.accounts = self._directory.lookup(addresses) if addresses else {}
        if known.accounts or known.recorded:  # only then: a directory that holds keys says with its answer whether they changed
            self._renew_keys()
        for item in items:
            one, accounts = known.authors[id(item)], known.accounts_for(item)
            judging = one.from_ in accounts or one.sender in accounts or (id(item) in known.recorded and known.recorded[id(item)].judged)
            if judging and "dkim-signature" in item.head and item.mail is not None:
                known.signed[id(item)] = dkim.signatures(item.mail)
        names = {
            signature.dns_name
            for place, signed in known.signed.items()
            if place not in known.recorded
            for signature in signed
            if signature.dns_name
        }
        known.answers = self._resolver.txt(names) if names else {}
        return known

    def _renew_keys(self) -> None:
        """A key that cannot be read keeps none of the others from being used, and no mail from being judged."""
        fault = ""
        try:
            self._keys.reload()
        except KeyringError as error:
            fault = str(error)
        if fault and fault != self._keys_fault:
            log.error("the OpenPGP keys stay as they were: %s", fault)
        self._keys_fault = fault

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
        account = proof.account or prepared.accounts_for(item).get(who.address or "")
        address = proof.address or who.address
        source = None if address is None else "from" if address == who.from_ else "sender"
        if account is None:
            reason = proof.reason or "no account has the author's address"
            fact = self._fact(address, source, proof, reason=reason, openpgp=self._unjudged(item))
            return self._passed(facts.having(authentication=fact), prepared)
        if not account.active:
            fact = self._fact(address, source, proof, account, reason="the account is not active")
            return self._end(
                facts.having(authentication=fact), "rejected", "inactive-account", prepared, f"account {account.id} is not active"
            )
        return self._of_account(item, _Sender(who, address, source, account, proof), prepared)

    @staticmethod
    def _fact(
        address: str | None,
        source: str | None,
        proof: DomainProof,
        account: Account | None = None,
        *,
        by_openpgp: bool = False,
        reason: str | None = None,
        openpgp: dict[str, Any] | None = None,
    ) -> Authentication:
        """The member that this stage adds. by_openpgp: the account's key proves the sender."""
        if account is None:
            return Authentication(
                address, source, "unknown", reason=reason, openpgp=openpgp, dkim=proof.dkim, results=proof.results, dns=proof.dns
            )
        return Authentication(
            address,
            source,
            "strong" if by_openpgp or proof.account else "weak",
            account=account.id,
            account_name=account.name,
            account_active=account.active,
            account_requires_strong=account.require_strong,
            account_fingerprints=account.fingerprints,
            method="openpgp" if by_openpgp else proof.method,
            reason=reason,
            openpgp=openpgp,
            dkim=proof.dkim,
            results=proof.results,
            dns=proof.dns,
        )

    def _of_account(self, item: Item, by: _Sender, known: _Known) -> Decision:
        """The mail of an active account: OpenPGP, and what the account demands."""
        facts, proof, account = item.facts, by.proof, by.account
        if facts.envelope.truncated:
            return self._passed(facts.having(authentication=self._fact(by.address, by.source, proof, account, reason=proof.reason)), known)
        verification = self._verify(item, facts, known)
        if recorded := known.recorded.get(id(item)):
            verification = recorded.verification(verification)
        evidence = verification.evidence() if verification else None
        word = by_openpgp(verification, account, self._policy, facts.envelope.received_at)
        if proof.account:  # strong by the domain: a fault of OpenPGP is only recorded
            return self._passed(facts.having(authentication=self._fact(by.address, by.source, proof, account, openpgp=evidence)), known)
        if word.ends:
            fact = self._fact(by.address, by.source, proof, account, reason=word.reason, openpgp=evidence)
            return self._end(facts.having(authentication=fact), "returned", word.ends, known, word.reason or "")
        if word.strength == "strong" and not by.who.shared:
            fact = self._fact(by.address, by.source, proof, account, by_openpgp=True, openpgp=evidence)
            return self._passed(facts.having(authentication=fact), known)
        lacks = "no OpenPGP signature" if proof.reason and verification is None else word.reason
        reason = f"{proof.reason}; {lacks}" if proof.reason and lacks else proof.reason or lacks
        if by.who.shared:
            reason = "From names several authors, so Sender's account counts at most as weak"
        facts = facts.having(authentication=self._fact(by.address, by.source, proof, account, reason=reason, openpgp=evidence))
        if account.require_strong:
            return self._end(facts, "returned", "strong-required", known, f"account {account.id} demands proof of the sender")
        return self._passed(facts, known)

    def _verify(self, item: Item, facts: Facts, known: _Known) -> Verification | None:
        assert item.mail is not None
        found = verify(item.mail, to_ms(facts.envelope.received_at), self._keys) if _may_be_signed(item) else None
        return as_of(found, to_ms(known.at), self._keys) if found and facts.replay and facts.replay.as_of_now else found

    @staticmethod
    def _unjudged(item: Item) -> dict[str, Any] | None:
        """A sender without an account: that there may be a signature is recorded, and it is not judged."""
        return {"judged": False} if _may_be_signed(item) else None

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
        accounts, answers = known.accounts_for(item), known.answers_for(item)
        assert item.mail is not None
        return by_domain(item.head, who, accounts, signed, answers, self._policy, received, item.mail[: item.head.body])

    def _end(self, facts: Facts, status: Status, reason: str, known: _Known, detail: str) -> Decision:
        return whole(facts, status, reason, stage=self.name, at=known.at, detail=detail)


def _may_be_signed(item: Item) -> bool:
    assert item.mail is not None
    kind, encoding = _kinds(item.head)
    return may_be_signed(kind, item.mail, encoding)


def _of_kinds(head: Head, _beside: str | None) -> tuple[bytes, bytes]:
    kind, encoding = (head.first(name) or "" for name in _KINDS)
    return kind.encode("utf-8", "surrogateescape"), encoding.encode("utf-8", "surrogateescape")


_KINDS = ("content-type", "content-transfer-encoding")
_kinds = Aspect(of_fields(*_KINDS), _of_kinds)
"""The octets of these two fields."""

_NO_PROOF = DomainProof()
