"""When what waits is due, by a clock that may have been wrong."""

from streams.record import Record
from streams.retries import SINCE, RetryPlan, Waiting
from streams.stage import Again

NOW = 1_800_000_000_000
MONTH = 30 * 86_400_000
PLAN = RetryPlan(("t.retry.1", "t.retry.2"), (1.0, 60.0), give_up=600.0)


def record(topic: str, time: int, offset: int = 0) -> Record:
    return Record(topic, 0, offset, time, b"k", b"")


def test_what_waits_is_due_when_its_delay_has_passed_since_it_was_written() -> None:
    waiting = Waiting(PLAN)
    one, two = record("t.retry.1", NOW - 400), record("t.retry.2", NOW - 400)
    waiting.park([one, two], NOW)
    assert waiting.next_due() == NOW + 600
    assert waiting.due(NOW + 599, 10) == ([], [])
    assert waiting.due(NOW + 600, 10) == ([one], [one.at])
    assert waiting.due(NOW + 59_600, 10) == ([two], [two.at])
    assert waiting.unpark([two]) == {two.at}
    assert waiting.due(NOW + 59_600, 10)[0] == [two]


def test_what_was_written_while_the_clock_was_ahead_waits_from_now_on() -> None:
    """And so does all that came behind it, as times do not go back within a partition: it would be due when the clock comes by there."""
    waiting = Waiting(PLAN)
    ahead = record("t.retry.1", NOW + MONTH)
    waiting.park([ahead], NOW)
    assert waiting.due(NOW + 1_000, 10)[0] == [ahead]


def test_who_came_while_the_clock_was_ahead_gives_up_when_its_time_is_over_all_the_same() -> None:
    waiting = Waiting(PLAN)
    came = record("t", NOW + MONTH)
    draft = waiting.again(came, Again("not yet"), NOW)
    assert dict(draft.headers)[SINCE] == b"%d" % NOW
    later = Record(draft.topic, 0, 7, NOW + MONTH, draft.key, draft.value, draft.headers)
    assert not waiting.gives_up(later, NOW + 599_999)
    assert waiting.gives_up(later, NOW + 600_000)
