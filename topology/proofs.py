"""What proves a sender: a DKIM signature or the mail server's word for the domain, or an OpenPGP signature by the account's key.

Pure functions of the mail, what was looked up, and the receive time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from topology import authres, dkim
from topology.alignment import aligned
from topology.answers import Answer
from topology.author import Author
from topology.facts import to_ms
from topology.head import Head
from topology.openpgp import FAULTS, Signature, Verification
from topology.ports import Account


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of [authentication]. max_age, max_future: of a signature's time against the receive time, seconds; None: any.
    dkim_max_age: likewise for DKIM's t=."""

    trusted_domains: tuple[str, ...] = ()
    alignment: Literal["relaxed", "strict"] = "relaxed"
    authserv_id: str = ""
    max_age: float | None = 172_800.0
    max_future: float | None = 600.0
    dkim_max_age: float | None = None
    openpgp_legacy: Literal["weak", "strong", "refuse"] = "weak"

    def trusts(self, domain: str) -> bool:
        """Whether a DKIM signer can make a sender strong. A trusted domain is meant exactly; "*.example.org" is any below it."""
        return any(
            trusted in ("*", domain) or (trusted.startswith("*.") and domain.endswith(trusted[1:])) for trusted in self.trusted_domains
        )


@dataclass(frozen=True, slots=True)
class DomainProof:
    """What the domain says. address and account: whom it proves, None where it proves nobody. dkim, results, dns: the evidence."""

    address: str | None = None
    account: Account | None = None
    method: str | None = None
    reason: str | None = None
    dkim: tuple[dict[str, Any], ...] = ()
    results: dict[str, Any] | None = None
    dns: dict[str, Any] = field(default_factory=dict)


def by_domain(
    head: Head,
    who: Author,
    accounts: Mapping[str, Account],
    signed: Sequence[dkim.Signed],
    answers: Mapping[str, Answer],
    policy: Policy,
    received_ms: int,
    header: bytes = b"",
) -> DomainProof:
    """Judges every DKIM signature and the trusted Authentication-Results field, for From's account first and Sender's then.

    header: the mail's header block; without Authentication-Results, nothing of it is looked at."""
    limits = dkim.Limits(
        future=round(1000 * policy.max_future) if policy.max_future is not None else 1 << 53,
        max_age=round(1000 * policy.dkim_max_age) if policy.dkim_max_age is not None else None,
    )
    results = dkim.verify(signed, answers, received_ms, limits)
    verdict = _told(head, header, policy.authserv_id) if policy.authserv_id else None
    evidence = {
        "dkim": tuple(result.evidence() for result in results),
        "results": verdict.evidence() if verdict and verdict.field else None,
        "dns": {name: answers[name].evidence() for one in signed if (name := one.dns_name) and name in answers},
    }
    if not who.shared:  # several authors: nobody's domain proves which of them wrote it
        for address in (who.from_, who.sender):
            account = accounts.get(address or "")
            if address and account and (method := _method(address, address == who.from_, results, verdict, policy)):
                return DomainProof(address, account, method, **evidence)  # type: ignore[arg-type]
    return DomainProof(reason=_why_not(results, verdict, policy), **evidence)  # type: ignore[arg-type]


def _told(head: Head, header: bytes, authserv_id: str) -> authres.ResultsVerdict:
    fields = [value.encode("utf-8", "surrogateescape") for value in head.all("authentication-results")]
    if fields and not authres.sound(header):
        return authres.ResultsVerdict(reason="the header can be read in more than one way, so nobody knows whose the field is")
    return authres.judge(fields, authserv_id)


def _method(
    address: str, is_from: bool, results: Sequence[dkim.DkimResult], verdict: authres.ResultsVerdict | None, policy: Policy
) -> str | None:
    domain = address.rpartition("@")[2]
    for result in results:
        # Sender can be added to anybody's signed mail; it is the signer's word only where the signature covers it.
        covered = is_from or "sender" not in result.unsigned
        if result.result == "pass" and covered and policy.trusts(result.domain) and aligned(result.domain, domain, policy.alignment):
            return "dkim"
    if verdict and is_from:  # which fields were signed, Authentication-Results does not say, so it proves From only
        # The server that we name vouches for the signature, so the signer needs no place in trusted_domains.
        if any(aligned(signer, domain, policy.alignment) for signer in verdict.signers):
            return "authentication-results"
        if verdict.author and aligned(verdict.author, domain, "strict"):
            return "authentication-results"
    return None


def _why_not(results: Sequence[dkim.DkimResult], verdict: authres.ResultsVerdict | None, policy: Policy) -> str | None:
    for result in results:
        if result.result != "pass":
            return f"DKIM {result.result}: {result.reason}"
        if not policy.trusts(result.domain):
            return f"DKIM pass, but the signer {result.domain} is not among trusted_domains"
    if results:
        return f"DKIM pass of {results[0].domain}, which is not aligned with the author of an account"
    return f"Authentication-Results: {verdict.reason or 'no aligned pass'}" if verdict else None


class Word(NamedTuple):
    """What an OpenPGP verification makes of a sender. ends: the reason code where it ends the mail. detail: words for the sender."""

    strength: Literal["weak", "strong"]
    reason: str | None = None
    ends: Literal["bad-signature", "signature-time"] | None = None


def by_openpgp(verification: Verification | None, account: Account, policy: Policy, received_at: str) -> Word:
    """A good signature by a key of the account, made at about the time of receipt (RFC 3339), is strong."""
    if verification is None:
        return Word("weak", "the mail is not signed")
    good = [signature for signature in verification.signatures if signature.verdict == "good"]
    own = [signature for signature in good if signature.fingerprint in account.fingerprints]
    if own:
        # Whoever changes keys signs with both for a while: the one that proves most counts, and of equals the first.
        return min((_own(signature, policy, to_ms(received_at)) for signature in own), key=_weakness)
    if good:
        return Word("weak", f"signed by the key {good[0].fingerprint}, which is not one of the account's")
    first = next((signature for signature in verification.signatures if signature.verdict in FAULTS), None)
    if first:
        return Word("weak", first.reason, "bad-signature")
    return Word("weak", verification.signatures[0].reason if verification.signatures else "the signature cannot be judged")


def _weakness(word: Word) -> int:
    return 0 if word.strength == "strong" else 1 if word.ends is None else 2


def _own(signature: Signature, policy: Policy, received_ms: int) -> Word:
    made_ms = to_ms(signature.created_at) if signature.created_at else None
    if made_ms is not None and policy.max_age is not None and received_ms - made_ms > policy.max_age * 1000:
        return Word("weak", f"the signature was made at {signature.created_at}, too long before the mail arrived", "signature-time")
    if made_ms is not None and policy.max_future is not None and made_ms - received_ms > policy.max_future * 1000:
        return Word("weak", f"the signature claims the time {signature.created_at}, after the mail arrived", "signature-time")
    if signature.legacy and policy.openpgp_legacy != "strong":
        ends: Literal["bad-signature"] | None = "bad-signature" if policy.openpgp_legacy == "refuse" else None
        return Word("weak", f"the signature is of an old kind that proves little: {signature.reason or 'DSA, SHA-1 or version 3'}", ends)
    return Word("strong")
