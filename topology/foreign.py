"""Foreign records: bare bytes that another program put on mail.raw, with no facts. The envelope is then read from the mail."""

from hashlib import sha256

from topology import envelope
from topology.facts import Envelope
from topology.head import HeadReader


def foreign_envelope(value: bytes, append_time_ms: int, reader: HeadReader) -> Envelope:
    """The envelope of a bare record: sender from the topmost Return-Path, no recipients, received when the topmost readable
    Received field says, else when the log appended it (`append_time_ms`, ms since 1970 UTC). The same record gives the same
    envelope whenever it is read. Never raises."""
    head = reader.read(value)
    received = envelope.received_ms(head)
    return envelope.build(
        head,
        sender=None,
        recipients=(),
        received_ms=append_time_ms if received is None else received,
        via="foreign",
        size=len(value),
        digest=sha256(value).hexdigest(),
    )
