"""Runs a command that dies with its parent, even where that is killed with -9: `python tether.py PARENT_PID COMMAND…`.

A process of its own, because prctl between fork and exec (subprocess's preexec_fn) may deadlock in a program with threads. Linux only;
elsewhere the command simply runs. The kernel sends the signal when the *thread* that started us ends, so start from one that lasts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent is gone already")
    os.execvp(command[0], command)
