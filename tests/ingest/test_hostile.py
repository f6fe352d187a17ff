"""Hostile mails get a record like any other; reading them takes little time and memory (E7)."""

import io
import os
from pathlib import Path

import pytest

from postroom.ingest.importing import Options, run_import
from postroom.ingest.pipe import run_pipe
from tests.ingest.place import Place

LARGE = (10 << 20) - 10
MAILS = {
    "nothing at all": b"",
    "one NUL": b"\x00",
    "NULs": b"\x00" * LARGE,
    "NULs in fields": b"From: \x00@\x00\r\nMessage-ID: <\x00>\r\nReceived: \x00; \x00\r\n\r\n",
    "100,000 fields": b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n",
    "100,000 Received": b"Received: by x; never\r\n" * 100_000 + b"\r\n",
    "a field of 10 MiB": b"Subject: " + b"x" * (LARGE - 20) + b"\r\n\r\n",
    "a Message-ID of 1 MB": b"Message-ID: <" + b"x" * 1_000_000 + b"@example.org>\r\n\r\n",
    "a Return-Path of 1 MB of brackets": b"Return-Path: " + b"<(" * 500_000 + b"\r\n\r\n",
    "a Received of 1 MB of semicolons": b"Received: " + b"; " * 500_000 + b"\r\n\r\n",
    "a date of 1 MB": b"Received: by x; " + b"1 " * 500_000 + b"\r\n\r\n",
    "blank continuation lines": b"Subject: x\r\n" + b" \r\n" * 1_000_000 + b"\r\n",
    "bare CRs": b"Subject: x\r" * 100_000,
    "only colons": b":" * LARGE,
    "only line ends": b"\n" * LARGE,
    "separators": b"From x Fri Dec 13 15:01:21 1996\n" * 100_000,
    "all octets": bytes(range(256)) * 1000,
    "boundaries 10,000 deep": b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(10_000)),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", MAILS)
def test_a_hostile_mail_gets_a_record_by_pipe_and_import(name: str, place: Place, tmp_path: Path) -> None:
    acceptor = place.acceptor(max_size=10 << 20, inline_limit=512 << 10)
    mail = MAILS[name]
    assert run_pipe(io.BytesIO(mail), None, ["a@example.org"], acceptor).status == os.EX_OK
    (tmp_path / "hostile.eml").write_bytes(b"X: y\n" + mail)
    (line,) = run_import([tmp_path / "hostile.eml"], Options(), acceptor)
    assert line.error is None
    assert sorted(map(len, place.mails())) == [len(mail), len(mail) + 5]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "line", [b"From " + b"Fri " * 250, b"From x Fri Dec 13 15:01:21 " + b"A1 " * 200, b">" * 1000, b"From " + b" " * 1000]
)
def test_a_mailbox_full_of_lines_that_are_almost_separators(line: bytes, place: Place, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.write_bytes(b"From x\n" + (b"\n" + line + b"\n") * (LARGE // 1000))
    assert [found.error for found in run_import([box], Options(), place.acceptor(max_size=2 * LARGE))] == [None]
