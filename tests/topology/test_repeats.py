"""What the bounce filter finds again of what it has screened, by when the mails came and not by when they were screened."""

from dataclasses import replace

from handlers.testkit import facts as facts_of_mail
from streams.record import Position, Record
from topology.facts import Facts, Screening
from topology.records import CAME
from topology.repeats import Past, Repeats

HOUR = 3_600_000
NOW = 1_000 * HOUR
WHO = ("a@foo.example",)


def mail(number: int) -> Facts:
    """The facts of a hand-over."""
    facts = facts_of_mail(b"From: x@y.example\nMessage-ID: <%d@x>\n\nhello\n" % number)
    return Facts(replace(facts.envelope, recipients=WHO))


def screened(number: int, offset: int, came: int | None) -> Record:
    """The record of mail.screened, written just now, about a raw record at `offset`."""
    facts = mail(number).having(raw=Position("log", "mail.raw", 0, offset), screening=Screening(recipients=WHO))
    return Record("mail.screened", 0, offset, NOW, b"k", facts.encode(), ((CAME, b"%d" % came),) if came is not None else ())


def rebuilt(until: int, *records: Record) -> Repeats:
    """A memory of 24 hours."""
    repeats = Repeats(24 * 3600, lambda _partition, _window: Past(until, records))
    repeats.assigned([0])
    return repeats


def first(repeats: Repeats, number: int, offset: int, time: int) -> int | None:
    """Where the mail came first, as far as the record at `offset` sees."""
    return repeats.meet(raw(offset, time), mail(number)).first


def processed(repeats: Repeats, number: int, offset: int, time: int) -> None:
    assert first(repeats, number, offset, time) is None


def raw(offset: int, time: int) -> Record:
    return Record("mail.raw", 0, offset, time, b"k", b"")


def test_a_worker_that_joins_in_a_backlog_knows_what_it_processes_itself() -> None:
    """Another worker has just screened mails of 31 hours ago; ours goes on with those of 30 hours ago."""
    for came in (NOW - 31 * HOUR, None):  # None: a record that does not tell
        repeats = rebuilt(NOW - 30 * HOUR, screened(1, 5, came))
        processed(repeats, 2, 10, NOW - 30 * HOUR)
        assert first(repeats, 2, 11, NOW - 30 * HOUR) == 10
        assert first(repeats, 1, 11, NOW - 30 * HOUR) == 5


def test_what_is_rebuilt_is_forgotten_when_what_was_remembered_at_once_would_be() -> None:
    repeats = rebuilt(NOW - 30 * HOUR, screened(1, 5, NOW - 31 * HOUR))
    assert first(repeats, 1, 11, NOW - 8 * HOUR) == 5
    assert first(repeats, 1, 13, NOW - 6 * HOUR) is None


def test_the_window_bounds_what_is_rebuilt_however_much_was_screened_in_it() -> None:
    repeats = rebuilt(NOW, screened(1, 5, NOW - 25 * HOUR), screened(2, 6, NOW - 23 * HOUR))
    assert (first(repeats, 1, 10, NOW), first(repeats, 2, 10, NOW)) == (None, 6)


def test_a_time_that_cannot_be_makes_nothing_forgotten() -> None:
    repeats = rebuilt(NOW, screened(1, 5, NOW - HOUR), screened(2, 6, 10**30), screened(3, 7, -(10**30)))
    assert [first(repeats, number, 10, NOW) for number in (1, 2, 3)] == [5, 6, None]
