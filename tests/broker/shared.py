"""One broker for all processes of a test run: the first that asks starts it, and it goes when the last is gone, even by kill -9."""

import fcntl
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.broker.broker import START_SECONDS
from tests.broker.jars import BrokerMissing, classpath, locked

ADDRESS = "address"
"""Where the keeper says where the broker is."""

USERS = "users"
"""Held by every process that uses the broker, shared; by the keeper, once none is left, alone."""

START = "start"
"""Held by who looks for the broker, and starts it."""


def demand() -> None:
    """Skips the test where there can be no broker, with a clear word; fails it with CI=true."""
    try:
        classpath()
    except BrokerMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no broker, and CI=true: {missing}")
        pytest.skip(f"no broker: {missing}")


@functools.cache
def bootstrap() -> str:
    """The address of the run's broker, started if need be; kept until this process ends. Skips or fails as `demand` does."""
    demand()
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"alone-{os.getpid()}"
    folder = Path(tempfile.gettempdir()) / f"postroom-broker-{os.getuid()}-{run}"
    folder.mkdir(exist_ok=True)
    with locked(folder / START):
        # Waits while a keeper that saw its last user go stops its broker. Never closed: the end of the process lets go.
        users = os.open(folder / USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(users, fcntl.LOCK_SH)
        return _running(folder) or _start(folder)


def _running(folder: Path) -> str | None:
    """The address that the keeper left, if its broker is there."""
    try:
        address = (folder / ADDRESS).read_text()
        host, _, port = address.partition(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return None
    return address


def _start(folder: Path) -> str:
    (folder / ADDRESS).unlink(missing_ok=True)
    with (folder / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.broker.keeper", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 2 * START_SECONDS
    while not (folder / ADDRESS).exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the broker did not start:\n{(folder / 'keeper.log').read_text()[-3000:]}")
        time.sleep(0.05)
    return (folder / ADDRESS).read_text()
