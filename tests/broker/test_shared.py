"""The broker of a test run outlives no run, however that ends, and is one for all of its processes."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.broker.shared import demand
from tests.contract.waiting import until

pytestmark = pytest.mark.kafka

USE = "import sys; from tests.broker.shared import bootstrap; print(bootstrap(), flush=True); sys.stdin.read()"


@pytest.fixture
def use() -> Iterator[Callable[[], tuple["subprocess.Popen[str]", str]]]:
    """Starts a process of one and the same test run, which uses the broker; gives it and the broker's address."""
    demand()
    run = os.environ | {"PYTEST_XDIST_TESTRUNUID": uuid.uuid4().hex}
    processes: list[subprocess.Popen[str]] = []

    def start() -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen([sys.executable, "-c", USE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=run)
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionError:
        return False
    return True


def test_the_broker_is_shared_and_goes_when_the_last_process_is_killed(use: Callable[[], tuple["subprocess.Popen[str]", str]]) -> None:
    first, address = use()
    second, same = use()
    assert same == address
    first.kill()
    first.wait()
    assert _answers(address)
    second.kill()
    second.wait()
    until(lambda: not _answers(address), lambda: time.sleep(0.05), "the broker to go")
