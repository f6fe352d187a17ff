"""Threads that are kept on a core. Each case is a process of its own, because one that keeps to a core does so for good."""

import os
import subprocess
import sys

CASE = """
import os, subprocess, sys, threading
from streams import cores

everywhere = os.sched_getaffinity(0)
core = max(everywhere)

def of_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
    thread.start()
    thread.join()
    return found[0]

def of_process():
    code = "import os; print(*sorted(os.sched_getaffinity(0)))"
    return set(map(int, subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split()))

with cores.anywhere():
    assert of_thread() == everywhere
cores.keep(core)
assert os.sched_getaffinity(0) == of_thread() == of_process() == {core}
with cores.anywhere():
    assert os.sched_getaffinity(0) == of_thread() == of_process() == everywhere
assert os.sched_getaffinity(0) == of_thread() == {core}
try:
    with cores.anywhere():
        raise KeyError
except KeyError:
    assert os.sched_getaffinity(0) == {core}
"""


def test_what_is_started_keeps_to_the_core_but_where_it_may_go_anywhere() -> None:
    subprocess.run([sys.executable, "-c", CASE], check=True, timeout=60)


def test_a_core_that_the_process_may_not_use_is_refused() -> None:
    code = "import os; from streams import cores; cores.keep(max(os.sched_getaffinity(0)) + 1)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    there = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    assert f"there is no core {max(os.sched_getaffinity(0)) + 1} for this process, but {there}" in done.stderr
