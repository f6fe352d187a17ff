"""Signals that come at the worst of moments."""

import os
import signal
import subprocess
import sys
import threading
from time import monotonic

from postroom.stopping import Stop, on_signals

# A signal every half millisecond, while the main thread begins and ends waits as fast as it can. `threading.Event` in place of `Stop`
# waits in its `set` for the lock that the interrupted wait has, until the signals have nested as deep as Python goes.
STORM = """
import signal
from postroom.stopping import Stop
stop = Stop()
signal.signal(signal.SIGALRM, lambda *_: stop.set())
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for _ in range(4000):
    stop = Stop()
    while not stop.wait(0.00001):
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_never_waits_for_the_wait_that_it_ends() -> None:
    subprocess.run([sys.executable, "-c", STORM], check=True, timeout=60)


def test_a_signal_and_another_thread_end_a_wait_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    assert not stop.wait(0.01)
    with on_signals(stop):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        begun = monotonic()
        assert stop.wait(60)
        assert monotonic() - begun < 30
    assert (stop.signal, stop.is_set()) == ("SIGTERM", True)
    assert signal.getsignal(signal.SIGTERM) is before
    other = Stop()
    threading.Timer(0.2, other.set).start()
    assert other.wait(60)
