"""What one mail alone costs the program: `python -m tests.acceptance.forked SETTINGS MAIL…` imports and drains each mail in processes of
its own, and prints a line of JSON for each: the exit statuses, the most memory in KiB, and the seconds.

The processes are forked from this one, which has loaded the program and done nothing, so that it need not be loaded for each.
"""

import json
import os
import sys
import time
from typing import NamedTuple

from postroom import cli
from postroom.ingest import importing
from streams import runner


class Cost(NamedTuple):
    """See the module."""

    mail: str
    statuses: tuple[int, int]
    kib: int
    seconds: float


def command(*arguments: str) -> tuple[int, int]:
    """Runs the program in a process of its own; the exit status and the most memory that it had, in KiB."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["postroom", *arguments]
        try:
            cli.main()
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1 if end.code else 0)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss


def cost(settings: str, mail: str) -> Cost:
    """Of one mail, all its way."""
    began = time.monotonic()
    brought, held = command("--config", settings, "import", mail)
    drained, worked = command("--config", settings, "run", "--drain")
    return Cost(mail, (brought, drained), max(held, worked), round(time.monotonic() - began, 1))


if __name__ == "__main__":
    assert importing
    assert runner
    for path in sys.argv[2:]:
        print(json.dumps(cost(sys.argv[1], path)), flush=True)
