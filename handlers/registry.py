"""From settings to handlers. Every fault of a setting is one clear line that names it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Any

from handlers.batch import Handler
from handlers.command import CommandHandler
from handlers.fingerprint import in_words
from handlers.maildir import MaildirHandler
from handlers.python import PythonHandler
from streams.disk import in_the_way

ENTRY_POINTS = "postroom.handlers"
"""The group in which an installed package offers handlers by name."""


class HandlerSettingsError(Exception):
    """A handler's setting is at fault: one line that names the setting, the cause and what to do."""


class NotBuilt(Exception):
    """The settings ask for what this release does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSpec:
    """[handlers.<name>] as it stands in the settings. Times in seconds, paths relative to the settings' folder. The keys of routing
    and of retries are kept for whoever acts on them."""

    name: str
    use: str
    python: str | None = None
    path: Path | None = None
    command: Sequence[str] | None = None
    url: str | None = None
    database: str | None = field(default=None, repr=False)  # it may hold a password
    timeout: float = 60.0
    concurrency: int = 1
    pause_after: int = 20
    runtime: str = "runner"
    domains: Sequence[str] = ()
    patterns: Sequence[str] = ()
    allow_unknown_senders: bool = False
    require_strong: bool = False
    give_up: float = 86400.0
    retry_delays: Sequence[float] = (30.0, 300.0, 3600.0)

    def at_fault(self, key: str, why: str) -> HandlerSettingsError:
        """The error about one of the keys."""
        return HandlerSettingsError(f"[handlers.{self.name}] {key}: {why}")


def build(spec: HandlerSpec, folder: Path) -> Handler:
    """The handler of a spec, ready to be called; its code is imported, and nothing of the world is touched. folder: that of the
    settings file. Raises HandlerSettingsError, NotBuilt."""
    if spec.timeout <= 0:
        raise spec.at_fault("timeout", "must be above 0; write a duration such as 60s")
    if spec.database is not None and spec.use != "python":
        raise spec.at_fault("database", f'goes with use = "python" only, not with "{spec.use}": take it out')
    match spec.use:
        case "python":
            handler: Handler = _python(spec, folder)
        case "maildir":
            handler = MaildirHandler(spec.name, _maildir(spec, folder))
        case "command":
            handler = _command(spec, folder)
        case "webhook" | "tickets":
            raise NotBuilt(f'[handlers.{spec.name}] use: "{spec.use}" is not built yet; there are python, maildir and command')
        case _:
            raise spec.at_fault("use", f'"{spec.use}" is none of python, maildir, command')
    if spec.runtime == "faust" and not (isinstance(handler, PythonHandler) and handler.is_async):
        handler.close()
        raise spec.at_fault("runtime", '"faust" calls coroutines, so it needs use = "python" and an `async def`; else leave the key out')
    handler.pause_after = spec.pause_after
    return handler


def _maildir(spec: HandlerSpec, folder: Path) -> Path:
    path: Path = folder / _needed(spec, "path")
    if fault := in_the_way(path):
        raise spec.at_fault("path", fault)
    return path


def _needed(spec: HandlerSpec, key: str) -> Any:
    value = getattr(spec, key)
    if not value:
        raise spec.at_fault(key, f'is missing; use = "{spec.use}" needs it')
    return value


def _command(spec: HandlerSpec, folder: Path) -> CommandHandler:
    handler = CommandHandler(spec.name, _needed(spec, "command"), folder, limit=spec.timeout, concurrency=spec.concurrency)
    if fault := handler.fault():
        handler.close()
        raise spec.at_fault("command", fault)
    return handler


def _python(spec: HandlerSpec, folder: Path) -> PythonHandler:
    effects = None
    if spec.database is not None:
        from handlers.connection import fault  # psycopg2 loads only where it is used
        from handlers.database import Effects

        if why := fault(spec.database):
            raise spec.at_fault("database", why)
        effects = Effects(spec.database, spec.name, spec.timeout)
    function = load(spec, folder)
    return PythonHandler(spec.name, function, limit=spec.timeout, concurrency=spec.concurrency, effects=effects)


def load(spec: HandlerSpec, folder: Path) -> Any:
    """What `python` names: an attribute of a module ("module:name"), or an entry point of the group postroom.handlers. The settings'
    folder is looked in last, so nothing in it hides an installed module or one of ours. Raises HandlerSettingsError."""
    reference = str(_needed(spec, "python"))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    if ":" not in reference:
        reference = _entry_point(spec, reference)
    module_name, _, attribute = reference.partition(":")
    function = _imported(spec, module_name, folder)
    for part in attribute.split("."):
        try:
            function = getattr(function, part)
        except AttributeError:
            raise spec.at_fault("python", f"the module {module_name} ({_where(module_name)}) has no {attribute!r}") from None
    if not callable(function) or isinstance(function, type):
        raise spec.at_fault("python", f"{reference} is no function but {_kind(function)}; name a `def handle(mail)` or an `async def`")
    return function


def _entry_point(spec: HandlerSpec, name: str) -> str:
    found = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = f"; installed are {', '.join(sorted(found))}" if found else ""
        raise spec.at_fault("python", f'"{name}" is no entry point of {ENTRY_POINTS}{known}; or write "module:name"')
    return found[name]


def _imported(spec: HandlerSpec, name: str, folder: Path) -> Any:
    try:
        return import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            package = error.name.partition(".")[0]
            hint = f"; the package {package} there is hidden by another of that name, so rename it" if _hidden(error.name, folder) else ""
            raise spec.at_fault("python", f"there is no module {name}, neither installed nor in {folder}{hint}") from error
        place = _last_place(error.__traceback__)
        raise spec.at_fault("python", f"the module {name} cannot be imported: {place}{' '.join(in_words(error).split())}") from error


def _hidden(name: str, folder: Path) -> bool:
    """Whether a module that is missing would have been found beside the settings, were not its package called like one known before."""
    package, _, rest = name.partition(".")
    return bool(rest) and package in sys.modules and (folder / package).is_dir()


def _last_place(trace: TracebackType | None) -> str:
    """Where the import broke: the innermost line that is not the import system's."""
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and "importlib" not in file and file != __file__:
            place = f"{file}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    return place


def _where(module: str) -> str:
    return str(getattr(sys.modules.get(module), "__file__", None) or "built in")


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a value of type {type(value).__name__}"
