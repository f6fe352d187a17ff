"""What several OpenPGP signatures by the keys of one account are worth together."""

import itertools

import pytest

from topology.openpgp import Signature, Verification
from topology.ports import Account
from topology.proofs import Policy, by_openpgp

RECEIVED = "2026-01-10T12:05:00.000Z"
ACCOUNT = Account("sample", "Sample", fingerprints=("OWN", "OLD"))
GOOD = Signature("good", "OWN", created_at="2026-01-10T12:00:00.000Z")
LEGACY = Signature("good", "OLD", created_at="2026-01-10T12:00:00.000Z", legacy=True, reason="of an old kind")
LATE = Signature("good", "OWN", created_at="2026-01-01T12:00:00.000Z")
OTHERS = Signature("good", "ELSE", created_at="2026-01-10T12:00:00.000Z")
BAD = Signature("bad", "OWN", created_at="2026-01-10T12:00:00.000Z", reason="it was changed")

TOGETHER = [
    ((GOOD, LEGACY), "weak", ("strong", None)),
    ((GOOD, LEGACY), "refuse", ("strong", None)),
    ((GOOD, LATE), "weak", ("strong", None)),
    ((GOOD, BAD), "weak", ("strong", None)),
    ((LEGACY, LATE), "weak", ("weak", None)),
    ((LEGACY, LATE), "strong", ("strong", None)),
    ((LATE, BAD), "weak", ("weak", "signature-time")),
    ((OTHERS, BAD), "weak", ("weak", None)),
]


@pytest.mark.parametrize(("signatures", "legacy", "word"), TOGETHER)
def test_the_signature_that_proves_most_counts_in_any_order(
    signatures: tuple[Signature, ...], legacy: str, word: tuple[str, str | None]
) -> None:
    policy = Policy(openpgp_legacy=legacy)  # type: ignore[arg-type]
    for order in itertools.permutations(signatures):
        found = by_openpgp(Verification("clear", order), ACCOUNT, policy, RECEIVED)
        assert (found.strength, found.ends) == word
