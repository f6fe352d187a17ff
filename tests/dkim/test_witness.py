"""dkimpy judges the same mails. Where it differs, a rule of an RFC says why; anything else is a fault of one of us."""

import json
from datetime import datetime

import pytest

from tests.dkim import test_cases, test_corpus, witness
from tests.dkim.case import read


@pytest.mark.parametrize("name", test_cases.NAMES)
def test_dkimpy_agrees_on_a_case_unless_the_case_names_the_rule(name: str) -> None:
    case = read(name)
    ours = [one.result == "pass" for one in test_cases.judge(case)]
    theirs = witness.passes(case.mail, case.received_at_ms, case.zone, len(ours))
    assert (ours != theirs) == bool(case.dkimpy), (ours, theirs)


# Signatures of the corpus on which dkimpy differs, and the rule.
DIFFERENT = {
    "chasquid-07-algo_mismatch": "takes the first of two records, where RFC 6376 6.1.2 lets the verifier try each",
    "chasquid-11-strict_domain_check_fail": "does not read t=s, by which i= must be in d= itself (RFC 6376 3.6.1)",
    "chasquid-09-limited_body": "passes l=, which RFC 6376 8.2 lets the verifier refuse",
}


@pytest.mark.parametrize("name", test_corpus.EXPECT)
def test_dkimpy_agrees_on_the_mails_of_others(name: str) -> None:
    raw = (test_corpus.CORPUS / f"{name}.eml").read_bytes()
    zone = json.loads((test_corpus.CORPUS / f"{name}.zone.json").read_text())
    now = datetime.fromisoformat(test_corpus.EXPECT[name].get("now", "2024-06-01T00:00:00Z"))
    ours = [one.result == "pass" for one in test_corpus.judge(name)]
    theirs = witness.passes(raw, round(now.timestamp() * 1000), zone, len(ours))
    assert (ours != theirs) == (name in DIFFERENT), (ours, theirs)
