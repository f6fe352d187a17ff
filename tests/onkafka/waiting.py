"""Waiting for other processes. Running into the limit fails the test; it is no measure of speed."""

import smtplib
import time
from collections.abc import Callable

from tests.contract import waiting


def until(arrived: Callable[[], bool], what: str) -> None:
    """Returns when it has arrived."""
    waiting.until(arrived, lambda: time.sleep(0.05), what)


def lmtp(port: int) -> smtplib.LMTP:
    """A connection to a listener of this machine, once it listens."""
    found: list[smtplib.LMTP] = []

    def listens() -> bool:
        try:
            found.append(smtplib.LMTP("127.0.0.1", port, timeout=60))
        except OSError:
            return False
        return True

    until(listens, f"a listener on port {port}")
    return found[0]
