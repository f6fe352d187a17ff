"""What the memory of repeats remembers, how long, and at what cost."""

import tracemalloc
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.recent import Recent


def entry(number: int) -> bytes:
    return sha256(b"%d" % number).digest()[:16]


def test_the_first_record_that_brought_an_entry_is_remembered_within_its_partition() -> None:
    recent = Recent(60)
    assert recent.first(0, entry(1)) is None
    assert recent.note(0, 7, 1_000, entry(1)) == 7
    assert recent.note(0, 9, 2_000, entry(1)) == 7
    assert recent.note(0, 7, 3_000, entry(1)) == 7, "a record that is processed again meets itself"
    assert recent.first(0, entry(1)) == 7
    assert recent.first(1, entry(1)) is None


def test_what_is_older_than_the_window_is_forgotten_and_may_come_first_again() -> None:
    recent = Recent(60)
    recent.note(0, 1, 0, entry(1))
    recent.note(0, 2, 60_000, entry(2))
    assert recent.first(0, entry(1)) == 1
    recent.note(0, 3, 60_001, entry(3))
    assert recent.first(0, entry(1)) is None
    assert recent.note(0, 4, 60_002, entry(1)) == 4
    assert recent.first(0, entry(1)) == 4


def test_partitions_that_are_given_up_are_forgotten() -> None:
    recent = Recent(60)
    recent.note(0, 1, 0, entry(1))
    recent.note(1, 1, 0, entry(1))
    recent.forget([0, 5])
    assert (recent.first(0, entry(1)), recent.first(1, entry(1))) == (None, 1)


def test_the_octets_of_an_entry_across_two_fields_are_no_entry() -> None:
    recent = Recent(60)
    hidden = bytes(8) + b"\1" + bytes(7)  # how the offset 0 and the time 1 are written
    recent.note(0, 0, 1, bytes(16))
    assert recent.first(0, hidden) is None
    assert recent.note(0, 5, 2, hidden) == 5
    assert recent.first(0, hidden) == 5


def test_an_entry_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 octets, not 15"):
        Recent(60).note(0, 0, 0, bytes(15))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=200))
def test_it_says_what_a_plain_list_of_all_that_came_says(steps: list[tuple[int, int]]) -> None:
    recent, came, now = Recent(0.1), list[tuple[int, int, bytes]](), 0
    for offset, (number, later) in enumerate(steps):
        now += later
        known = next((first for first, time, one in came if one == entry(number) and time >= now - 100), offset)
        assert recent.note(0, offset, now, entry(number)) == known
        if known == offset:
            came.append((offset, now, entry(number)))


def test_an_entry_costs_some_tens_of_octets_and_a_window_that_has_passed_none() -> None:
    tracemalloc.start()
    try:
        recent = Recent(60)
        for number in range(20_000):
            recent.note(0, number, number, entry(number))
        full = tracemalloc.get_traced_memory()[0]
        assert full < 64 * 20_000
        for number in range(20_000, 60_000):
            recent.note(0, number, 20_000 * number, entry(number))
        assert tracemalloc.get_traced_memory()[0] < full
    finally:
        tracemalloc.stop()
