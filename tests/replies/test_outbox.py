"""The Maildir that replies are left in."""

import email.policy
import mailbox
import os
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest

from postroom.outbox import Letter, Maildir
from streams.faults import Hold
from tests.replies.cases import MAIL, facts
from topology.replies import compose
from topology.replies.attach import Original


def _letter(original: bytes = MAIL) -> Letter:
    case = facts(mail=original)
    assert case.outcome
    message = compose.finished(case, "postroom@example.net", original, compose.notice(case, "We are sorry.\n"))
    return Letter(compose.reply_id_of(case, case.outcome), "ann@example.org", message, True, Original(original, len(original)), "gone")


def _send(path: Path, *letters: Letter) -> None:
    with Maildir(path).opened() as send:
        assert {send(letter).status for letter in letters} == {"sent"}


def test_a_reply_stands_there_as_a_delivered_mail(tmp_path: Path) -> None:
    """LF line ends, the null Return-Path on top, the words first and the original last."""
    _send(tmp_path / "deep" / "outbox", _letter())
    (key,) = mailbox.Maildir(tmp_path / "deep" / "outbox", create=False).keys()
    data = mailbox.Maildir(tmp_path / "deep" / "outbox").get_bytes(key)
    assert data.startswith(b"Return-Path: <>\nFrom: ")
    assert b"\r" not in data
    message = BytesParser(_class=EmailMessage, policy=email.policy.default).parsebytes(data)
    first, last = message.iter_parts()
    assert first.get_content_type() == "text/plain"
    assert last.get_content_type() == "message/rfc822"
    assert last.get_content()["Message-ID"] == "<1@example.org>"
    assert last.get_content().as_bytes() == MAIL


def test_the_same_reply_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """After a crash between the file and the commit."""
    _send(tmp_path, _letter())
    before = {path: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    _send(tmp_path, _letter(), _letter(MAIL + b"another\n"))
    after = {path: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert len(before) == 1
    assert len(after) == 2
    assert before.items() <= after.items()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_only_its_owner_may_read_it_and_a_folder_that_was_there_stays_as_it_was(tmp_path: Path) -> None:
    """Replies carry the mails that they are about."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new").chmod(0o750)
    _send(tmp_path, _letter())
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"tmp": 0o700, "new": 0o750, "cur": 0o700}


def test_a_folder_that_cannot_be_written_holds_the_role(tmp_path: Path) -> None:
    """Its path lies below a file; or it was made a file meanwhile."""
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "outbox"):
        with pytest.raises(Hold, match=r"outbox: replies\.outbox: cannot write to ") as caught:
            _send(path, _letter())
        assert caught.value.part == "outbox"


def test_a_fault_while_sending_holds_too(tmp_path: Path) -> None:
    """The folder goes away with the batch in hand, and is still away when the batch ends."""

    def lose_it_half_way() -> None:
        with Maildir(tmp_path / "outbox").opened() as send:
            os.rename(tmp_path / "outbox", tmp_path / "elsewhere")
            with pytest.raises(Hold, match=r"replies\.outbox"):
                send(_letter())

    with pytest.raises(Hold, match=r"replies\.outbox"):
        lose_it_half_way()
