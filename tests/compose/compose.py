"""Reads docker-compose.yml, and lays a service's files out as its container would see them."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

CLONE = Path(__file__).parents[2]
HOME = PurePosixPath("/srv/postroom")
"""Where the image's WORKDIR is."""


@dataclass(frozen=True)
class Service:
    """A service. mounts: from a path of the clone, or a volume's name, to a path in the container."""

    name: str
    document: Mapping[str, Any]

    @property
    def ours(self) -> bool:
        """Whether it is built from this clone."""
        return "build" in self.document

    @property
    def command(self) -> list[str]:
        """What follows the entry point."""
        return [str(word) for word in self.document.get("command", [])]

    @property
    def environment(self) -> dict[str, str]:
        """Its variables, with the defaults of those that compose fills in."""
        return {name: filled(str(value)) for name, value in self.document.get("environment", {}).items()}

    @property
    def mounts(self) -> list[tuple[str, PurePosixPath]]:
        """Source and target of each."""
        found = [volume.split(":") for volume in self.document.get("volumes", [])]
        return [(source, PurePosixPath(target)) for source, target, *_ in found]

    @property
    def ports(self) -> list[tuple[str, int, int]]:
        """Address and port outside, port inside."""
        found = [port.split(":") for port in self.document.get("ports", [])]
        return [(host, int(outside), int(inside)) for host, outside, inside in found]

    def lay_out(self, root: Path) -> Path:
        """Copies the files that it mounts below root, makes its volumes folders, and returns the container's working folder there."""
        for source, target in self.mounts:
            place = root / target.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.startswith("."):
                shutil.copy(CLONE / source, place)
            else:
                place.mkdir(exist_ok=True)
        return root / HOME.relative_to("/")


def filled(text: str) -> str:
    """With ${NAME:-default} as compose fills it in where the variable is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@cache
def document() -> Mapping[str, Any]:
    """The whole file."""
    loaded: Mapping[str, Any] = yaml.safe_load((CLONE / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, Service]:
    """Its services by name."""
    return {name: Service(name, found) for name, found in document()["services"].items()}


def ours() -> list[Service]:
    """Those that run postroom."""
    return [service for service in services().values() if service.ours]
