"""--where: what it lets through, and what it says of an expression that it cannot read."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.reading.rows import FIELDS, FURTHER
from postroom.reading.where import WhereError, like, parse_where

NOW = 1772359200000
"""2026-03-01T10:00:00Z"""
ROW: dict[str, Any] = dict.fromkeys((*FIELDS, *FURTHER)) | {
    "status": "failed",
    "reason": "handler-error",
    "sender": "ada@example.org",
    "envelope_sender": "",
    "recipient": "4711@bugs.example.org",
    "strength": "weak",
    "detail": 'it said "no" \\ twice',
    "generation": 2,
    "received_at": "2026-03-01T08:00:00.000Z",
}


def wanted(expression: str) -> bool:
    return parse_where(expression, NOW)(ROW)


@pytest.mark.parametrize(
    "expression",
    [
        'status == "failed"',
        "status == 'failed' and generation == 2",
        'status != "handled"',
        "oops_id == null",
        "oops_id != 'x'",
        'status in ("handled", "failed")',
        'status not in ("handled", null)',
        "account in (null)",
        'recipient like "*@bugs.example.org"',
        'recipient like "47*@*.EXAMPLE.org"',
        'recipient not like "*@help.example.org"',
        "not (status == 'handled' or reason == 'timeout')",
        "not not status == 'failed'",
        "status == 'handled' and reason == 'timeout' or generation >= 2",
        "status == 'x' or status == 'failed'",
        "generation > 1 AND NOT generation > 2",
        "generation > -1",
        'strength < "strong" and strength >= "weak"',
        'received_at > "24h" and received_at < "2026-03-01T10:00:00+01:00"',
        'received_at == "2026-03-01T08:00:00Z"',
        'received_at >= "today"',
        'sender == "ADA@Example.org"',
        'sender == "Ada <ada@example.org>"',
        'envelope_sender == "<>" and envelope_sender == ""',
        r'detail == "it said \"no\" \\ twice"',
        r"detail like '*\\ twice'",
    ],
)
def test_what_is_true_of_the_row_lets_it_through(expression: str) -> None:
    assert wanted(expression)
    assert not wanted(f"not ({expression})")


@pytest.mark.parametrize(
    "expression",
    [
        "oops_id < 'x'",  # null has no order
        "not oops_id != null and oops_id >= 'a'",
        "status == 'handled' or status == 'dropped'",
        "status == 'failed' and reason == 'timeout'",
        'recipient like "bugs"',
        'recipient like "*@bugs"',
        'account like "*"',
        "status == 'FAILED'",
    ],
)
def test_what_is_false_of_the_row_does_not(expression: str) -> None:
    assert not wanted(expression)


@pytest.mark.parametrize(
    ("expression", "column", "words"),
    [
        ("", 1, "a field should stand; fields are mail_id, "),
        ('statuss == "x"', 1, "'statuss' is no field"),
        ('status = "x"', 8, "write == for equality"),
        ('status == "x', 11, "the string is not closed"),
        ("status == failed", 11, "a string in quotes or null, not failed"),
        ("status == 5", 11, "a string in quotes"),
        ('generation == "5"', 15, "a whole number"),
        ('status == "a" reason == "b"', 15, "expected `and`, `or` or the end"),
        ('(status == "a"', 15, "expected ')'"),
        ('status == "a")', 14, "expected `and`, `or` or the end, not ')'"),
        ("status in 'a'", 11, "expected '('"),
        ("status in ('a',)", 16, "a string in quotes or null"),
        ("status not 'a'", 12, "expected `in` or `like`"),
        ("status like null", 13, "like takes a string"),
        ("status < null", 10, "null has no order"),
        ("status", 7, "expected ==, !="),
        ("not", 4, "a field should stand"),
        ("received_at > 'yestreday'", 15, "is no time; write 2026-03-01"),
        ("received_at > '99999999d'", 15, "is no time"),
        ("strength == 'strongest'", 13, "unknown, weak, strong"),
        ("status == 'a' & reason == 'b'", 15, "'&' has no meaning here"),
        ("1 == 1", 1, "'1' is no field"),
        ("(" * 51 + "status == 'a'" + ")" * 51, 51, "more than 50 parentheses"),
    ],
)
def test_an_expression_that_cannot_be_read_is_told_with_its_column(expression: str, column: int, words: str) -> None:
    with pytest.raises(WhereError) as caught:
        parse_where(expression, NOW)
    assert caught.value.column == column
    assert words in str(caught.value)


def test_a_long_expression_is_no_deeper_than_a_short_one() -> None:
    assert wanted(" or ".join(["status == 'handled'"] * 20_000 + ["status == 'failed'"]))


WORDS = st.lists(st.sampled_from([*FIELDS, *FURTHER, "and", "or", "not", "(", ")", "==", "<", "in", "'a'", "null", "7"])).map(" ".join)


@given(st.text(alphabet="()'\"=<>!,\\ \n*09az_-") | WORDS)
def test_whatever_is_written_either_reads_or_is_told(text: str) -> None:
    try:
        found = parse_where(text, NOW)(ROW)
    except WhereError as error:
        found = error.column in range(1, len(text) + 2)
        wrong = not found
    else:
        wrong = not isinstance(found, bool)
    assert not wrong


@given(st.lists(st.sampled_from(["a", "b", "*"]), max_size=8).map("".join), st.text(alphabet="ab", max_size=8))
def test_like_is_what_a_regular_expression_would_say(pattern: str, text: str) -> None:
    assert like(pattern, text) == bool(re.fullmatch(pattern.replace("*", ".*"), text))


def test_like_stays_fast_on_a_hostile_text() -> None:
    assert not like("*a" * 50 + "*b", "a" * 100_000)
