"""How many mails go out, counted by the log alone."""

from hypothesis import given
from hypothesis import strategies as st

from streams.record import Draft, Record
from streams.retries import RetryPlan, Waiting
from streams.stage import FOLLOWS
from topology.replies.limits import DAY, HOUR, Limits

NOON = 20_000 * DAY + 12 * HOUR


def _record(offset: int, time: int = NOON, key: str = "ann@example.org", partition: int = 0) -> Record:
    return Record("mail.replies", partition, offset, time, key.encode(), b"")


def test_the_first_of_a_day_are_sent_and_the_rest_is_not() -> None:
    """By address; the next day counts anew."""
    limits = Limits(2, 1000)
    assert [limits.exceeded(_record(n)) for n in range(4)] == [None, None, "limit", "limit"]
    assert limits.exceeded(_record(4, key="bob@example.org")) is None
    assert limits.exceeded(_record(5, NOON + 12 * HOUR)) is None


def test_the_breaker_stops_all_addresses_for_the_hour() -> None:
    """What it stops counts for nobody in the next hour."""
    limits = Limits(10, 3)
    assert [limits.exceeded(_record(n, key=f"{n}@example.org")) for n in range(5)] == [None, None, None, "breaker", "breaker"]
    assert limits.exceeded(_record(5, NOON + HOUR)) is None


_RECORDS = st.lists(st.sampled_from("abc"), max_size=40).map(
    lambda who: [_record(n, NOON + n, f"{name}@example.org") for n, name in enumerate(who)]
)


@given(_RECORDS, st.integers(0, 40))
def test_asked_again_or_rebuilt_it_says_the_same(records: list[Record], done: int) -> None:
    """A batch that comes again, in other groupings, here or at the next owner of the partition."""
    first, second = Limits(3, 1000), Limits(3, 1000)
    words = [first.exceeded(record) for record in records]
    assert [first.exceeded(record) for record in records[done:]] == words[done:]
    second.rebuild(0, records[:done])
    assert [second.exceeded(record) for record in records[done:]] == words[done:]
    first.rebuild(0, records)
    assert [first.exceeded(record) for record in records] == words


def test_what_follows_a_waiting_mail_through_the_retries_is_counted_as_what_it_was() -> None:
    """By its place and time in mail.replies, or a relay that defers one address would lift its limit."""
    waiting = Waiting(RetryPlan(("mail.replies.retry.1",)))
    drafts = [waiting.again(_record(n), FOLLOWS, NOON + DAY) for n in range(4)]
    limits = Limits(2, 1000)
    assert [limits.exceeded(_retry(draft, n + 70)) for n, draft in enumerate(drafts)] == [None, None, "limit", "limit"]
    assert [limits.exceeded(_record(n)) for n in range(4)] == [None, None, "limit", "limit"]


def _retry(draft: Draft, offset: int) -> Record:
    return Record(draft.topic, 0, offset, NOON + 3 * DAY, draft.key, draft.value, draft.headers)


def test_a_partition_that_is_given_up_is_forgotten() -> None:
    """Another worker counts it now."""
    limits = Limits(1, 2)
    assert limits.exceeded(_record(0)) is None
    assert limits.exceeded(_record(0, partition=1)) is None
    assert limits.exceeded(_record(1, partition=1, key="bob@example.org")) == "breaker"
    limits.forget(0)
    assert limits.exceeded(_record(2, partition=1, key="cid@example.org")) is None
    assert limits.exceeded(_record(3, partition=1)) == "limit"
