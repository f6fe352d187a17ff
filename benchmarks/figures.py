"""What every benchmark shares: mails of 4 KB as mail servers hand them over, a place to run in, and a line for a figure."""

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from postroom.ingest.accept import Arrival
from postroom.ingest.reading import Kept
from postroom.site import Site

LOG = '[log]\nurl = "sqlite:///postroom.db"\n'
SETTINGS = """
[accounts]
file = "accounts.toml"
[handlers.sink]
use = "python"
python = "sink:handle"
domains = ["sink.example"]
[replies]
outbox = "outbox/"
"""
ACCOUNTS = '[[account]]\nid = "a%d"\naddresses = ["person%d@sender.example"]\n'
SINK = "def handle(mail):\n    return True\n"
SENDERS, RECIPIENTS = 500, 50
RECEIVED_MS = 1_772_445_600_000


@contextmanager
def site(log: str = LOG) -> Iterator[Site]:
    """An installation in a temporary folder: 500 accounts, one Python handler that says True. log: its settings of the log."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        base = Path(folder)
        (base / "postroom.toml").write_text(log + SETTINGS)
        (base / "accounts.toml").write_text("".join(ACCOUNTS % (n, n) for n in range(SENDERS)))
        (base / "sink.py").write_text(SINK)
        opened = Site.at(base / "postroom.toml")
        opened.ensure_topics()
        try:
            yield opened
        finally:
            opened.close()


def mail(number: int) -> bytes:
    """An unsigned mail of about 4 KB with the header of an ordinary one: three relays, 16 fields, 800 octets."""
    relays = "".join(
        f"Received: from mx{n}.sender.example (mx{n}.sender.example [192.0.2.{n}]) by mx.sink.example (Postfix)\r\n"
        f" with ESMTPS id 4F{number:06X}{n} for <x@sink.example>; Mon, 02 Mar 2026 10:00:0{n} +0000 (UTC)\r\n"
        for n in range(3)
    )
    head = (
        f"{relays}From: Person Number {number % SENDERS} <person{number % SENDERS}@sender.example>\r\n"
        f"To: <box{number % RECIPIENTS}@sink.example>\r\nSubject: Some words on matter {number}\r\n"
        f"Message-ID: <{number}.bench@sender.example>\r\n"
        "Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 7bit\r\nUser-Agent: Mozilla Thunderbird\r\nContent-Language: en-GB\r\nX-Spam-Status: No\r\n\r\n"
    )
    return (head + ("A line of text that says as much as such lines do, and no more.\r\n" * 80))[:4096].encode()


def arrival(here: Site, number: int) -> Arrival:
    """The hand-over of a mail, as LMTP gives it."""
    raw = mail(number)
    kept = Kept(raw, len(raw), sha256(raw).hexdigest(), False)
    sender, recipient = f"person{number % SENDERS}@sender.example", f"box{number % RECIPIENTS}@sink.example"
    (one,) = here.acceptor.arrivals(kept, sender=sender, recipients=(recipient,), via="lmtp", received_ms=RECEIVED_MS)
    return one


def fill(here: Site, count: int, first: int = 0) -> None:
    """Appends mails to mail.raw, 500 a transaction."""
    for start in range(first, first + count, 500):
        here.acceptor.accept([arrival(here, number) for number in range(start, min(start + 500, first + count))])


def say(what: str, figure: float, unit: str, beside: str = "") -> None:
    """Prints a figure; with CI of no concern, on standard output."""
    print(f"{what:<58} {figure:>12,.1f} {unit:<10} {beside}", flush=True)


def machine() -> str:
    """What it ran on, and how busy that was: a figure without it says nothing."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, load {load}"
