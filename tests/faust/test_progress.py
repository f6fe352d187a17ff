"""How far a group may stand while deliveries end in any order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from postroom.faust.progress import Progress
from streams.record import TopicPartition

AT = TopicPartition("mail.routed.x", 1)


def begun(standing: int = 5) -> Progress:
    progress = Progress()
    progress.assigned({AT: standing})
    return progress


def test_the_group_never_passes_what_is_still_under_way() -> None:
    """Faust's own account would: 5 is under way, 6 is done, and it commits 7."""
    progress = begun()
    progress.fetched(AT, [5, 6, 7], 8)
    progress.done(AT, 6)
    progress.done(AT, 7)
    assert progress.moved() == {}
    progress.done(AT, 5)
    assert progress.moved() == {AT: 8}


def test_the_very_first_delivery_is_waited_for_too() -> None:
    """Faust's own account takes a position of 0 for none at all."""
    progress = begun(0)
    progress.fetched(AT, [0, 1], 2)
    progress.done(AT, 1)
    assert progress.moved() == {}


def test_what_transactions_leave_between_records_is_passed_and_no_record_with_it() -> None:
    """6 ends a transaction. Faust's own account takes the 7 behind it for done."""
    progress = begun()
    progress.fetched(AT, [5, 7, 8], 10)
    progress.done(AT, 5)
    progress.done(AT, 8)
    assert progress.moved() == {AT: 7}
    progress.done(AT, 7)
    assert progress.moved() == {AT: 10}
    progress.committed({AT: 10})
    progress.fetched(AT, [], 12)
    assert progress.moved() == {AT: 12}


def test_what_is_fetched_again_is_known_and_what_was_given_up_is_nobodys_concern() -> None:
    progress = begun()
    progress.fetched(AT, [5, 6], 7)
    progress.done(AT, 5)
    progress.fetched(AT, [5, 6, 7], 8)
    assert not progress.is_pending(AT, 5)
    assert progress.is_pending(AT, 6)
    progress.revoked([AT])
    progress.done(AT, 6)
    assert not progress.is_pending(AT, 6)
    assert progress.standing(AT) is None
    progress.assigned({AT: 6})
    progress.fetched(AT, [6], 7)
    assert progress.is_pending(AT, 6)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_whatever_the_order_the_position_is_the_first_that_is_not_done(steps: list[int], order: random.Random) -> None:
    offsets = [5 + sum(steps[:place]) for place in range(len(steps))]
    progress = begun()
    progress.fetched(AT, offsets, offsets[-1] + 1)
    left = list(offsets)
    while left:
        progress.done(AT, left.pop(order.randrange(len(left))))
        position = progress.moved().get(AT, 5)
        assert position == (min(left) if left else offsets[-1] + 1)
