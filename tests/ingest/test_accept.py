"""From bytes and envelope to a durable record."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from postroom.archive import ObjectArchive
from postroom.ingest.accept import Acceptor, Arrival
from postroom.ingest.reading import Kept
from postroom.ingest.room import Room
from streams.errors import Full, LogError, TooLarge, Transient
from streams.record import Appended, Draft
from streams.sqlite import SqliteLog
from tests.ingest.place import MAIL, Place, numbered
from topology.ids import hand_over_id

NOON = 1_772_366_400_000


def arrivals(acceptor: Acceptor, raw: bytes, *recipients: str, sender: str | None = "ann@example.org") -> list[Arrival]:
    mail = Kept(raw, len(raw), sha256(raw).hexdigest(), False)
    return acceptor.arrivals(mail, sender=sender, recipients=recipients, via="lmtp", received_ms=NOON)


def test_what_is_accepted_stands_in_the_log_as_received(place: Place, acceptor: Acceptor) -> None:
    (appended,) = acceptor.accept(arrivals(acceptor, MAIL, "Bugs@Example.org"))
    (record,) = place.records()
    (facts,) = place.facts()
    assert (record.value, record.key, record.offset) == (MAIL, b"ann@example.org", appended.position.offset)
    assert (facts.envelope.size, facts.envelope.recipients, facts.envelope.message_id) == (
        len(MAIL),
        ("Bugs@Example.org",),
        "1@example.org",
    )
    assert record.header("ce_id") == hand_over_id(facts.envelope.mail_id, ["bugs@example.org"])
    assert appended.repeat is False


def test_the_same_hand_over_again_is_a_repeat(place: Place, acceptor: Acceptor) -> None:
    batch = arrivals(acceptor, MAIL, "a@example.org", "b@example.org")
    (first,) = acceptor.accept(batch)
    (again,) = acceptor.accept(arrivals(acceptor, MAIL, "B@example.org", "a@example.org"))
    (other,) = acceptor.accept(arrivals(acceptor, MAIL, "a@example.org"))
    assert (again.position, again.repeat, other.repeat) == (first.position, True, False)
    assert [record.value for record in place.records()] == [MAIL, MAIL]


def test_more_than_a_hundred_recipients_become_several_records(place: Place, acceptor: Acceptor) -> None:
    names = [f"user{number}@example.org" for number in range(250)]
    acceptor.accept(arrivals(acceptor, MAIL, *names))
    facts = place.facts()
    assert sorted(len(one.envelope.recipients) for one in facts) == [50, 100, 100]
    assert sorted(name for one in facts for name in one.envelope.recipients) == sorted(names)
    assert len({one.envelope.mail_id for one in facts}) == 1


def test_a_large_mail_lives_in_the_archive_and_its_record_refers_to_it(place: Place, acceptor: Acceptor) -> None:
    large = numbered(1, b"x" * 30_000)
    acceptor.accept([one for raw in (MAIL, large, numbered(2, b"y" * 40_000)) for one in arrivals(acceptor, raw, "a@example.org")])
    records = place.records()
    assert sorted(len(record.value) for record in records) == [0, 0, len(MAIL)]
    assert large in place.mails()
    assert all(record.digest is None or record.value for record in records)


def test_with_the_limit_at_0_every_mail_lives_in_the_archive(place: Place) -> None:
    acceptor = place.acceptor(inline_limit=0)
    acceptor.accept([one for number in range(20) for one in arrivals(acceptor, numbered(number), "a@example.org")])
    assert [record.value for record in place.records()] == [b""] * 20
    assert sorted(place.mails()) == sorted(numbered(number) for number in range(20))


def test_what_is_kept_of_an_oversized_mail_can_live_there_too(place: Place) -> None:
    acceptor = place.acceptor(inline_limit=0)
    kept = Kept(MAIL, 1 << 30, "ab" * 32, True)
    acceptor.accept(acceptor.arrivals(kept, sender="", recipients=(), via="pipe", received_ms=NOON))
    (facts,) = place.facts()
    assert (facts.envelope.truncated, facts.envelope.size, facts.envelope.digest) == (True, 1 << 30, "ab" * 32)
    assert place.mails() == [MAIL]


def test_an_archive_that_is_away_is_transient_and_nothing_is_stored(place: Place, tmp_path: Path) -> None:
    """A11."""
    (tmp_path / "blocked").touch()
    acceptor = place.acceptor(inline_limit=0, archive=ObjectArchive("file:blocked/archive", tmp_path))
    with pytest.raises(Transient, match=r"archive\.url"):
        acceptor.accept(arrivals(acceptor, MAIL, "a@example.org"))
    assert place.records() == []
    (tmp_path / "blocked").unlink()
    assert acceptor.accept(arrivals(acceptor, MAIL, "a@example.org"))[0].repeat is False


def test_those_that_the_archive_or_the_topic_does_not_take_fail_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "blocked").touch()
    log = SqliteLog(tmp_path / "postroom.db", largest=10_000)
    acceptor = place.acceptor(archive=ObjectArchive("file:blocked/archive", tmp_path), log=log)
    mails = [numbered(1), numbered(2, b"x" * 15_000), numbered(3), numbered(4, b"x" * 30_000), numbered(5)]
    results = acceptor.accept_each([one for raw in mails for one in arrivals(acceptor, raw, "a@example.org")])
    assert [type(one) for one in results] == [Appended, TooLarge, Appended, Transient, Appended]
    assert sorted(place.mails()) == [numbered(1), numbered(3), numbered(5)]
    log.close()


class _Away(SqliteLog):
    """A log that is away; the real one's word for it."""

    def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        raise Transient("the log is away")


def test_a_log_that_is_away_fails_all_of_a_batch(place: Place, tmp_path: Path) -> None:
    log = _Away(tmp_path / "postroom.db")
    acceptor = place.acceptor(log=log)
    results = acceptor.accept_each([one for number in range(3) for one in arrivals(acceptor, numbered(number), "a@example.org")])
    assert [isinstance(one, Transient) for one in results] == [True] * 3
    with pytest.raises(LogError):
        acceptor.accept(arrivals(acceptor, MAIL, "a@example.org"))
    log.close()


def test_below_min_free_nothing_is_taken_until_there_is_room(place: Place, tmp_path: Path) -> None:
    now = 0.0
    missing = tmp_path / "not" / "there" / "yet"
    room = Room(1 << 60, [missing], clock=lambda: now)
    acceptor = place.acceptor(room=room)
    with pytest.raises(Full, match=r"ingest\.min_free"):
        acceptor.accept(arrivals(acceptor, MAIL, "a@example.org"))
    assert all(isinstance(one, Full) for one in acceptor.accept_each(arrivals(acceptor, MAIL, "a@example.org")))
    room._min_free = 1  # as if somebody had made room
    now = 10.0
    acceptor.accept(arrivals(acceptor, MAIL, "a@example.org"))
    assert place.mails() == [MAIL]
