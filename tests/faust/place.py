"""An installation on the run's broker whose handlers are on Faust."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.acceptance.place import Place
from tests.broker.shared import bootstrap

SAMPLE = {"id": "sample", "name": "Sample Person", "addresses": ["test@canonical.com"]}
QUICK = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "300"}
"""The shortest session that a broker takes by stock settings: for so long a worker that was killed holds its partitions."""


def faust_place(
    folder: Path, code: str, handlers: Mapping[str, Mapping[str, Any]], *, sections: Mapping[str, Mapping[str, Any]] | None = None
) -> Place:
    """handlers: by name, which is also that of the coroutine in `code` and, with .org behind it, that of the domain."""
    made = {
        name: {"use": "python", "python": f"actions:{name}", "domains": [f"{name}.org"], "runtime": "faust"} | dict(more)
        for name, more in handlers.items()
    }
    everything: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (sections or {}).items()}
    everything["log"] = {"kafka": QUICK} | everything.get("log", {})
    return Place(folder, f"kafka://{bootstrap()}", accounts=[SAMPLE], handlers=made, sections=everything, code={"actions.py": code})


def imported(place: Place, mails: list[str]) -> list[dict[str, Any]]:
    """Imports mails in one call, from one file; the lines about them."""
    box = place.write("box.mbox", "".join(f"From a@b Mon Mar  2 10:00:00 2026\n{mail}\n" for mail in mails))
    return place.lines("import", str(box))
