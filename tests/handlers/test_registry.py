"""From settings to handlers: what is found where, and one clear line for each fault."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from handlers import registry
from handlers.command import CommandHandler
from handlers.maildir import MaildirHandler
from handlers.registry import HandlerSettingsError, HandlerSpec, NotBuilt
from handlers.stage import HandlerStage
from tests.handlers.kit import built, outcomes, routed

MakeStage = Callable[..., HandlerStage]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Modules and paths that a test brought are gone after it."""
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_a_function_beside_the_settings_is_found(stage: MakeStage, tmp_path: Path) -> None:
    """By module and name; a dotted name reaches into an object."""
    write(tmp_path, "mybugs.py", "class Bugs:\n    @staticmethod\n    def handle(mail): return False\ndef handle(mail): return True\n")
    assert outcomes(stage(built(tmp_path, use="python", python="mybugs:handle")).process([routed(1)])) == ["handled"]
    assert outcomes(stage(built(tmp_path, use="python", python="mybugs:Bugs.handle")).process([routed(1)])) == ["failed handler-false"]


def test_an_object_with_a_coroutine_call_is_a_handler(stage: MakeStage, tmp_path: Path) -> None:
    """What has been put together at import can be named, too."""
    write(tmp_path, "myobject.py", "class Handler:\n    async def __call__(self, mail): return False\nhandle = Handler()\n")
    assert outcomes(stage(built(tmp_path, use="python", python="myobject:handle")).process([routed(1)])) == ["failed handler-false"]


def test_an_entry_point_is_found_by_its_name(stage: MakeStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installed package offers it."""
    write(tmp_path, "offered.py", "def handle(mail): return True\n")
    offered = EntryPoints([EntryPoint("shop", "offered:handle", registry.ENTRY_POINTS)])
    monkeypatch.setattr(registry, "entry_points", lambda group: offered.select(group=group))
    assert outcomes(stage(built(tmp_path, use="python", python="shop")).process([routed(1)])) == ["handled"]
    with pytest.raises(HandlerSettingsError, match=r'"stop" is no entry point of postroom.handlers; installed are shop'):
        built(tmp_path, use="python", python="stop")


def test_a_folder_named_handlers_beside_the_settings_hides_nothing(tmp_path: Path) -> None:
    """Row E10, in a fresh process: the program's own package is imported, and so are the standard library's modules."""
    write(tmp_path, "handlers/__init__.py", "raise SystemExit('hidden')\n")
    write(tmp_path, "email/__init__.py", "raise SystemExit('hidden')\n")
    write(tmp_path, "mine.py", "from handlers import Refuse, Reply, Retry\nimport email.message\ndef handle(mail): pass\n")
    code = (
        "import sys; from pathlib import Path; from handlers.registry import HandlerSpec, build;"
        "build(HandlerSpec(name='bugs', use='python', python='mine:handle'), Path(sys.argv[1])); print('built', sys.path[-1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == f"built {tmp_path}\n", done.stderr
    write(tmp_path, "handlers/bugs.py", "def handle(mail): pass\n")
    with pytest.raises(HandlerSettingsError, match="the package handlers there is hidden by another of that name, so rename it"):
        built(tmp_path, use="python", python="handlers.bugs:handle")


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"python": "nosuchmodule:handle"}, r"python: there is no module nosuchmodule, neither installed nor in /"),
    ({"python": "good:nosuchname"}, r"python: the module good \(.*good.py\) has no 'nosuchname'"),
    ({"python": "good:value"}, r"python: good:value is no function but a value of type int; name a `def handle\(mail\)`"),
    ({"python": "good:Klass"}, r"python: good:Klass is no function but the class Klass"),
    ({"python": "broken:handle"}, r"python: the module broken cannot be imported: .*broken.py, line 2: NameError: name 'undefined'"),
    (
        {"python": "missing:handle"},
        r"python: the module missing cannot be imported: .*missing.py, line 1: ModuleNotFoundError: .*notinstalled",
    ),
    ({"python": "syntax:handle"}, r"python: the module syntax cannot be imported: .*SyntaxError"),
    ({"python": "leaves:handle"}, r"python: the module leaves cannot be imported: .*leaves.py, line 1: SystemExit: 3"),
    ({"python": ":handle"}, r"python: the module  cannot be imported"),
    ({"python": None}, r'python: is missing; use = "python" needs it'),
    ({"python": "good:handle", "database": "postgresql://u:hunter2/x@h/db"}, r"database: has a port or host that is none"),
    ({"python": "good:handle", "timeout": 0.0}, r"timeout: must be above 0"),
    ({"use": "maildir"}, r'path: is missing; use = "maildir" needs it'),
    ({"use": "maildir", "path": Path("box"), "database": "postgresql:///db"}, r'database: goes with use = "python" only'),
    ({"use": "command"}, r'command: is missing; use = "command" needs it'),
    ({"use": "command", "command": ["nosuchprogram"]}, r"command: there is no program 'nosuchprogram' on PATH"),
    ({"use": "command", "command": ["./nosuchprogram"]}, r"command: there is no file /.*/nosuchprogram"),
    ({"use": "command", "command": ["./good.py"]}, r"command: /.*/good.py is not executable: chmod \+x"),
    ({"use": "telepathy"}, r'use: "telepathy" is none of python, maildir, command'),
]


@pytest.mark.parametrize(("settings", "line"), FAULTS, ids=[line[:30] for _, line in FAULTS])
def test_each_fault_is_one_line_that_names_its_setting(tmp_path: Path, settings: dict[str, Any], line: str) -> None:
    """Issue 3: a handler that cannot be imported is one clear line, and nothing is touched."""
    write(tmp_path, "good.py", "value = 3\nclass Klass: pass\ndef handle(mail): pass\n")
    write(tmp_path, "broken.py", "x = 1\nundefined\n")
    write(tmp_path, "missing.py", "import notinstalled\n")
    write(tmp_path, "syntax.py", "def handle(mail:\n")
    write(tmp_path, "leaves.py", "raise SystemExit(3)\n")
    before = set(tmp_path.iterdir())
    with pytest.raises(HandlerSettingsError, match=r"^\[handlers.test\] " + line) as raised:
        built(tmp_path, **{"use": "python"} | settings)
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.parametrize(
    "settings",
    [{"use": "webhook", "url": "https://example.org"}, {"use": "tickets"}],
)
def test_what_is_not_built_says_so(tmp_path: Path, settings: dict[str, Any]) -> None:
    """DESIGN.md section 6: exit status 2, and the word."""
    with pytest.raises(NotBuilt, match=r"^\[handlers.test\] .* is not built yet"):
        built(tmp_path, **settings)


def test_paths_are_relative_to_the_settings_folder(tmp_path: Path) -> None:
    """Wherever the program is started."""
    maildir = built(tmp_path, use="maildir", path=Path("box"))
    assert isinstance(maildir, MaildirHandler)
    assert not (tmp_path / "box").exists()
    write(tmp_path, "bin/prog", "#!/bin/sh\nexit 0\n")
    (tmp_path / "bin/prog").chmod(0o755)
    command = built(tmp_path, use="command", command=["bin/prog"])
    assert isinstance(command, CommandHandler)
    command.close()


def test_a_password_is_not_shown_with_the_settings() -> None:
    """A spec may be printed or logged."""
    assert "hunter2" not in repr(HandlerSpec(name="bugs", use="python", database="postgresql://u:hunter2@h/db"))


def test_pause_after_goes_to_the_handler(tmp_path: Path) -> None:
    """Where the stage looks for it."""
    assert built(tmp_path, use="maildir", path=Path("box"), pause_after=7).pause_after == 7
