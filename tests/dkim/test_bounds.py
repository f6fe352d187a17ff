"""Hostile sizes: a bounded number of signatures is judged, in time and memory that grow with the mail and no faster."""

import tracemalloc
from collections.abc import Callable

import pytest

from tests.dkim.case import RECEIVED, Case
from tests.dkim.signer import CRLF, record, sign
from tests.dkim.table_mails import BODY, HEAD, MAIL
from topology.answers import Answer
from topology.dkim import MAX_SIGNATURES, DkimResult, signatures, verify

AT = Case("", b"", (), "", received_at=RECEIVED).received_at_ms
ANSWERS = {"sel._domainkey.example.org": Answer.of([record("rsa-1024")])}
MIB = 1 << 20


def judge(raw: bytes) -> tuple[DkimResult, ...]:
    return verify(signatures(raw), ANSWERS, AT)


def _long_names() -> bytes:
    return sign(MAIL).replace(b"h=from:", b"h=from:" + b"x-y:" * (MIB // 4), 1)


# Whoever makes one of these quadratic finds it out by the time limit: each takes well under a second.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "10 MiB of body": (lambda: sign(HEAD + CRLF + b"words and blanks \r\n" * (10 * MIB // 19)), "pass"),
    "10 MiB of blanks": (lambda: sign(HEAD + CRLF + b"a" + b" \t" * (5 * MIB) + b"b\r\n"), "pass"),
    "10 MiB of empty lines": (lambda: sign(MAIL) + CRLF * (5 * MIB), "pass"),
    "10 MiB of bare CR at the end": (lambda: sign(MAIL) + b"\r" * (10 * MIB), "fail"),
    "10 MiB of bare LF": (lambda: sign(MAIL) + b"\n" * (10 * MIB), "pass"),
    "100,000 fields": (lambda: b"X-A: b\r\n" * 100_000 + sign(MAIL), "pass"),
    "100,000 From fields": (lambda: b"From: b\r\n" * 100_000 + sign(MAIL), "policy"),
    "a field of 10 MiB": (lambda: b"X-A:" + b" b\r\n" * (10 * MIB // 4) + sign(MAIL), "pass"),
    "a signed field of 10 MiB": (lambda: sign(b"X-A:" + b" \t b\r\n" * (10 * MIB // 6) + MAIL, tags={"h": "x-a:from"}), "pass"),
    "1 MiB of h=": (_long_names, "permerror"),
    "a signature of 10 MiB of semicolons": (lambda: b"DKIM-Signature: v=1" + b";" * (10 * MIB) + CRLF + MAIL, "permerror"),
    "a header without an end": (lambda: b"DKIM-Signature: v=1; b=" + b"\r\n a" * (2 * MIB), "permerror"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sizes_are_judged_in_bounded_time_and_memory(name: str) -> None:
    make, expected = HOSTILE[name]
    raw = make()
    tracemalloc.start()
    results = judge(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [one.result for one in results] == [expected]
    assert peak < 8 * len(raw) + 8 * MIB
    assert sum(map(len, (*results[0].headers, *results[0].unsigned, results[0].reason))) < 2000


@pytest.mark.timeout(60)
def test_of_ten_thousand_signatures_the_first_ten_are_judged() -> None:
    raw = sign(MAIL).partition(MAIL[:20])[0] * 10_000 + MAIL
    results = judge(raw)
    assert len(results) == MAX_SIGNATURES + 1
    assert [one.result for one in results[:-1]] == ["pass"] * MAX_SIGNATURES
    assert (results[-1].result, results[-1].reason[:21]) == ("policy", "9990 more signatures ")


def test_the_limit_is_the_callers_to_set() -> None:
    assert len(signatures(sign(sign(HEAD + CRLF + BODY)), limit=1)) == 2
