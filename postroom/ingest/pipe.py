"""One mail on standard input, for a mail server's pipe transport."""

import logging
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from postroom.ingest.accept import Acceptor
from postroom.ingest.reading import Readable, read_mail
from streams.errors import LogError

_log = logging.getLogger("postroom.ingest")


class Piped(NamedTuple):
    """What came of it. status: the exit status (sysexits.h). why: one line for the mail server's log when it is not 0."""

    status: int
    mail_id: str | None = None
    why: str | None = None


def run_pipe(stream: Readable, sender: str | None, recipients: Sequence[str], acceptor: Acceptor) -> Piped:
    """Reads the stream to its end and hands it over. sender: "" or "<>" is the null sender, and so is MAILER-DAEMON, which Postfix
    writes for it unless its pipe line has `null_sender=`; one that cannot be read is none; None when the mail's Return-Path tells.

    Status 0 only when the mail is durable; 75, upon which the mail server keeps it and comes again, for whatever is wrong, our own
    settings and faults included. Never raises."""
    if sender == "MAILER-DAEMON":
        sender = ""
    try:
        mail = read_mail(stream, acceptor.max_size)
        arrivals = acceptor.arrivals(mail, sender=sender, recipients=recipients, via="pipe", received_ms=int(time.time() * 1000))
        acceptor.accept(arrivals)
    except LogError as error:
        _log.error("%s; the mail server was asked to keep its mail", error)
        return Piped(os.EX_TEMPFAIL, None, f"try again later: {error}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the mail server must not take it for the mail's fault
        _log.exception("storing failed; the mail server was asked to keep its mail")
        return Piped(os.EX_TEMPFAIL, None, f"try again later: {error!r}")
    return Piped(os.EX_OK, arrivals[0].envelope.mail_id)
