"""Where a listener is to listen: read from the settings, and tried before anything else is touched."""

import errno
import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import NamedTuple

from postroom.settings import SettingsError

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})")

_MAX_PATH = 107
"""Octets of a Unix socket's path: what Linux has room for, unix(7)."""


class ListenerError(SettingsError):
    """The listener cannot be set up; the text names the setting and what to do. Exit status 2."""


class Place(NamedTuple):
    """Where a listener is to listen: the path of a Unix socket, or host and port. setting: as the settings say it."""

    setting: str
    path: Path | None
    host: str = ""
    port: int = 0


def place_of(kind: str, where: str, base: Path, *, allow_remote: bool = False) -> Place:
    """The setting `ingest.<kind>` read.

    where: host:port, [v6]:port (port 0: any free one), or unix:PATH, relative to `base`, the settings' folder. allow_remote: also places
    that other machines reach. Raises ListenerError when `where` is not to be understood, too long a path, or reachable from outside without
    leave."""
    setting = f"ingest.{kind} = {where!r}"
    if where.startswith("unix:"):
        path = base / where.removeprefix("unix:")
        if len(os.fsencode(path)) > _MAX_PATH:
            raise ListenerError(f"{setting}: {path} is too long: a socket's path has at most {_MAX_PATH} octets")
        return Place(setting, path)
    match = _HOST_PORT.fullmatch(where)
    if not match or int(match[2]) > 65535:
        raise ListenerError(f"{setting}: expected host:port, [v6]:port or unix:PATH")
    host = match[1].strip("[]")
    if not allow_remote and not _is_loopback(host):
        raise ListenerError(f"{setting}: other machines can reach this; use 127.0.0.1, ::1 or unix:PATH, or allow it explicitly")
    return Place(setting, None, host, int(match[2]))


def fault_of(place: Place) -> str | None:
    """Why nobody can listen there just now, or None. Nothing is left behind."""
    if place.path:
        try:
            return _fault_of_socket(place.path)
        except OSError as error:  # its folder is not for us to look into, for one
            return f"{place.path}: {error.strerror or error}"
    with socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.host, place.port))
        except OSError as error:
            return f"{error.strerror or error}{'; is postroom running already?' if error.errno == errno.EADDRINUSE else ''}"
    return None


def _fault_of_socket(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.exists() and not path.is_socket():
        return "something else stands there"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return None if probe.connect_ex(os.fspath(path)) else "somebody listens there; is postroom running already?"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
