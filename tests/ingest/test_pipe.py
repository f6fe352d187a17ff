"""One mail on standard input."""

import io
import os
from pathlib import Path

import pytest

from postroom.archive import ObjectArchive
from postroom.ingest.accept import Acceptor
from postroom.ingest.pipe import run_pipe
from postroom.ingest.room import Room
from streams.sqlite import SqliteLog
from tests.ingest.place import MAIL, Place


def test_a_mail_is_durable_when_the_status_is_0(place: Place, acceptor: Acceptor) -> None:
    piped = run_pipe(io.BytesIO(MAIL), "ann@example.org", ["Bugs@Example.org"], acceptor)
    assert (piped.status, piped.why) == (os.EX_OK, None)
    (facts,) = place.facts()
    assert (facts.envelope.mail_id, facts.envelope.via, facts.envelope.sender) == (piped.mail_id, "pipe", "ann@example.org")
    assert place.mails() == [MAIL]


def test_nothing_at_all_is_a_mail_too(place: Place, acceptor: Acceptor) -> None:
    """E7."""
    assert run_pipe(io.BytesIO(b""), None, [], acceptor).status == os.EX_OK
    assert place.mails() == [b""]


def test_both_spellings_of_the_null_sender(place: Place, acceptor: Acceptor) -> None:
    """A12."""
    for sender in ("", "<>"):
        run_pipe(io.BytesIO(MAIL), sender, ["a@example.org"], acceptor)
    assert [facts.envelope.sender for facts in place.facts()] == [""]


def test_recipients_that_cannot_be_read_are_no_reason_to_bounce(place: Place, acceptor: Acceptor) -> None:
    """A15: routing says what becomes of it."""
    assert run_pipe(io.BytesIO(MAIL), "nonsense", ["\udcff", "nobody", ""], acceptor).status == os.EX_OK
    (facts,) = place.facts()
    assert facts.envelope.sender is None


def test_an_archive_that_is_away_is_tempfail(place: Place, tmp_path: Path) -> None:
    """A11."""
    (tmp_path / "blocked").touch()
    acceptor = place.acceptor(inline_limit=0, archive=ObjectArchive("file:blocked/archive", tmp_path))
    piped = run_pipe(io.BytesIO(MAIL), None, ["a@example.org"], acceptor)
    assert piped.status == os.EX_TEMPFAIL
    assert "archive.url" in (piped.why or "")


def test_no_room_is_tempfail(place: Place, tmp_path: Path) -> None:
    piped = run_pipe(io.BytesIO(MAIL), None, ["a@example.org"], place.acceptor(room=Room(1 << 60, [tmp_path])))
    assert (piped.status, "ingest.min_free" in (piped.why or "")) == (os.EX_TEMPFAIL, True)


def test_a_log_without_the_topic_is_tempfail_and_not_the_mails_fault(tmp_path: Path) -> None:
    with Place(tmp_path) as place:
        log = SqliteLog(tmp_path / "other.db")
        assert run_pipe(io.BytesIO(MAIL), None, [], place.acceptor(log=log)).status == os.EX_TEMPFAIL
        log.close()


def test_a_stream_that_breaks_is_tempfail(place: Place, acceptor: Acceptor) -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError("broken pipe")

    assert run_pipe(Broken(), None, [], acceptor).status == os.EX_TEMPFAIL
    assert place.records() == []


def test_what_the_log_does_not_take_stays_with_the_mail_server(place: Place, tmp_path: Path) -> None:
    """The limits can be raised, and the mail server keeps its mail for days."""
    log = SqliteLog(tmp_path / "postroom.db", largest=50)
    assert run_pipe(io.BytesIO(MAIL), None, [], place.acceptor(log=log)).status == os.EX_TEMPFAIL
    log.close()


@pytest.mark.parametrize(
    ("sender", "found"), [("MAILER-DAEMON", ""), ("a..b@example.org", "a.b@example.org"), ("Ann@Example.ORG", "ann@example.org")]
)
def test_the_sender_as_mail_servers_give_it(sender: str, found: str | None, place: Place, acceptor: Acceptor) -> None:
    assert run_pipe(io.BytesIO(MAIL), sender, ["box@foo.com"], acceptor).status == os.EX_OK
    (facts,) = place.facts()
    assert facts.envelope.sender == found


def test_an_oversized_mail_is_taken_as_its_beginning(place: Place, acceptor: Acceptor) -> None:
    """S16."""
    assert run_pipe(io.BytesIO(MAIL + b"x" * 200_000), None, [], acceptor).status == os.EX_OK
    (facts,) = place.facts()
    assert (facts.envelope.truncated, facts.envelope.size) == (True, len(MAIL) + 200_000)
    assert place.mails() == [(MAIL + b"x" * 200_000)[: 64 << 10]]
