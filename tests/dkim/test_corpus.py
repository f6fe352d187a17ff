"""The test sets of other projects: our results agree with what their sources state."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from topology.answers import Answer
from topology.dkim import DkimResult, signatures, verify

CORPUS = Path(__file__).parent / "corpus"
EXPECT: dict[str, dict[str, Any]] = json.loads((CORPUS / "expect.json").read_text())

# Where one signature of a mail that passes differs from its source, the rule behind it.
DIFFERENT = {
    ("chasquid-09-limited_body", 0): "it has l=, which we refuse (RFC 6376 8.2)",
    ("chasquid-02-too_many_headers", 5): "chasquid judges five signatures, we ten",
    ("chasquid-02-too_many_headers", 6): "chasquid judges five signatures, we ten",
}
WORDS = {"SUCCESS": {"pass"}, "TEMPFAIL": {"temperror"}, "PERMFAIL": {"fail", "policy", "permerror"}}


def judge(name: str) -> tuple[DkimResult, ...]:
    zone = json.loads((CORPUS / f"{name}.zone.json").read_text())
    now = datetime.fromisoformat(EXPECT[name].get("now", "2024-06-01T00:00:00Z"))
    signed = signatures((CORPUS / f"{name}.eml").read_bytes())
    answers = {one.dns_name: Answer.from_evidence(zone.get(one.dns_name)) for one in signed if one.dns_name}
    return verify(signed, answers, round(now.timestamp() * 1000))


@pytest.mark.parametrize("name", EXPECT)
def test_the_mail_has_the_result_that_its_source_states(name: str) -> None:
    results = judge(name)
    found = "none" if not results else "pass" if any(one.result == "pass" for one in results) else "fail"
    assert EXPECT[name]["dkim"] in {found, None}


@pytest.mark.parametrize("name", [name for name in EXPECT if EXPECT[name].get("signatures")])
def test_each_signature_has_the_result_that_its_source_states(name: str) -> None:
    stated = dict(enumerate(EXPECT[name]["signatures"]))
    for place, one in enumerate(judge(name)):
        agrees = one.result in WORDS.get(stated.get(place, ""), ())
        assert agrees != ((name, place) in DIFFERENT), (place, one)
