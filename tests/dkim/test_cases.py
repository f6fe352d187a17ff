"""Every case of this folder: what its signatures are worth, and why."""

import pytest

from tests.dkim import make_cases
from tests.dkim.case import CASES, Case, read
from topology.answers import Answer
from topology.dkim import DkimResult, Limits, signatures, verify

NAMES = sorted(path.stem for path in CASES.glob("*.eml"))


def judge(case: Case) -> tuple[DkimResult, ...]:
    signed = signatures(case.mail)
    answers = {one.dns_name: Answer.from_evidence(case.zone.get(one.dns_name)) for one in signed if one.dns_name}
    return verify(signed, answers, case.received_at_ms, Limits(max_age=case.max_age * 1000 if case.max_age else None))


@pytest.mark.parametrize("name", NAMES)
def test_the_case_has_the_result_that_it_states(name: str) -> None:
    case = read(name)
    results = judge(case)
    assert [(one.result, one.domain) for one in results] == [(one.result, one.domain) for one in case.results]
    for result, expected in zip(results, case.results, strict=True):
        assert expected.reason in result.reason
        assert bool(result.reason) == (result.result != "pass")
        assert expected.unsigned is None or result.unsigned == expected.unsigned


def test_the_files_are_what_make_cases_writes() -> None:
    assert sorted(case.name for case in make_cases.ALL) == NAMES
    for case in make_cases.ALL:
        kept = read(case.name)
        assert kept.mail == case.mail, case.name
        assert (kept.zone, kept.proves, list(kept.results)) == (dict(case.zone), case.proves, list(case.results)), case.name


@pytest.mark.parametrize("name", NAMES)
def test_judging_again_by_the_evidence_gives_the_same_results(name: str) -> None:
    """What DNS said, kept as JSON, is all that a replay needs."""
    case = read(name)
    signed = signatures(case.mail)
    answers = {one.dns_name: Answer.from_evidence(case.zone.get(one.dns_name), ttl=60) for one in signed if one.dns_name}
    kept = {name: Answer.from_evidence(answer.evidence()) for name, answer in answers.items()}
    first, again = verify(signed, answers, case.received_at_ms), verify(signed, kept, case.received_at_ms)
    assert first == again
