"""What the memory of repeats remembers, how long, and at what cost."""

import tracemalloc
from copy import deepcopy
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.recent import Recent

NEXT = 1_000_000


def entry(number: int) -> bytes:
    return sha256(b"%d" % number).digest()[:16]


def first(recent: Recent, partition: int, asked: bytes, time_ms: int) -> int | None:
    """The offset that brought the entry first, or None; nothing is noted."""
    found = deepcopy(recent).note(partition, NEXT, time_ms, asked)
    return None if found == NEXT else found


def test_the_first_record_that_brought_an_entry_is_remembered_within_its_partition() -> None:
    recent = Recent(60)
    assert first(recent, 0, entry(1), 0) is None
    assert recent.note(0, 7, 1_000, entry(1)) == 7
    assert recent.note(0, 9, 2_000, entry(1)) == 7
    assert recent.note(0, 7, 3_000, entry(1)) == 7, "a record that is processed again meets itself"
    assert first(recent, 0, entry(1), 3_000) == 7
    assert first(recent, 1, entry(1), 3_000) is None


def test_what_is_older_than_the_window_is_forgotten_and_may_come_first_again() -> None:
    recent = Recent(60)
    recent.note(0, 1, 0, entry(1))
    assert first(recent, 0, entry(1), 60_000) == 1
    assert first(recent, 0, entry(1), 60_001) is None
    assert recent.note(0, 4, 60_002, entry(1)) == 4
    assert first(recent, 0, entry(1), 60_003) == 4


def test_who_asks_again_about_an_earlier_time_is_told_what_was_known_then() -> None:
    recent = Recent(60)
    recent.note(0, 1, 0, entry(1))
    recent.reached(0, 60_000)
    recent.note(0, 3, 200_000, entry(1))
    assert first(recent, 0, entry(1), 60_000) == 1
    assert first(recent, 0, entry(1), 200_000) == 3


def test_partitions_that_are_given_up_are_forgotten() -> None:
    recent = Recent(60)
    recent.note(0, 1, 0, entry(1))
    recent.note(1, 1, 0, entry(1))
    recent.forget([0, 5])
    assert (first(recent, 0, entry(1), 0), first(recent, 1, entry(1), 0)) == (None, 1)


def test_the_octets_of_an_entry_across_two_fields_are_no_entry() -> None:
    recent = Recent(60)
    hidden = bytes(8) + b"\1" + bytes(7)  # how the offset 0 and the time 1 are written
    recent.note(0, 0, 1, bytes(16))
    assert first(recent, 0, hidden, 1) is None
    assert recent.note(0, 5, 2, hidden) == 5
    assert first(recent, 0, hidden, 2) == 5


def test_an_entry_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 octets, not 15"):
        Recent(60).note(0, 0, 0, bytes(15))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=200), st.integers(1, 50))
def test_it_says_what_a_plain_list_of_all_that_came_says(steps: list[tuple[int, int]], batch: int) -> None:
    """Batch by batch, each of which is judged twice, as where something raised at its end."""
    recent, came, now = Recent(0.1), dict[int, tuple[int, bytes]](), 0
    times: list[int] = []
    for _, later in steps:
        now += later
        times.append(now)
    for start in range(0, len(steps), batch):
        recent.reached(0, times[start])
        for offset in [*range(start, min(start + batch, len(steps)))] * 2:
            one, now = entry(steps[offset][0]), times[offset]
            known = next((first for first, (time, what) in came.items() if what == one and time >= now - 100), offset)
            assert first(recent, 0, one, now) in (known, None if known == offset else known)
            assert recent.note(0, offset, now, one) == known
            if known == offset:
                came[offset] = now, one


def test_an_entry_costs_some_tens_of_octets_and_a_window_that_has_passed_none() -> None:
    tracemalloc.start()
    try:
        recent = Recent(60)
        for number in range(20_000):
            recent.note(0, number, number, entry(number))
        full = tracemalloc.get_traced_memory()[0]
        assert full < 64 * 20_000
        for number in range(20_000, 60_000):
            recent.reached(0, 20_000 * number)
            recent.note(0, number, 20_000 * number, entry(number))
        assert tracemalloc.get_traced_memory()[0] < full
    finally:
        tracemalloc.stop()
