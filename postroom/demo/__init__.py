"""The demo: a whole installation with mails made for it, that `postroom demo` copies into a working folder and runs.

The mails cover every status and most reasons; tests/demo/make_mails.py made them, the keys and the zone.
"""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from postroom.settings import SettingsError

MARK = ".postroom-demo"
"""A file by which a folder is known as the demo's, so that no other is ever replaced."""
_PARTS = ("postroom.toml", "accounts.toml", "zone.json", "bugs.py", "bugs.json", "keys", "mails")


def lay_out(folder: Path) -> Path:
    """Writes the demo's files into `folder`, in place of an earlier demo, and gives the settings file's path. Raises SettingsError
    when something else lives there."""
    try:
        if folder.exists():
            if not folder.is_dir() or (not (folder / MARK).exists() and any(folder.iterdir())):
                raise SettingsError(f"{folder}: is there already, and is no demo; name another folder with --folder")
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARK).touch()
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be written: {error.strerror}; name another folder with --folder") from error
    with as_file(files("postroom") / "demo") as source:
        for part in _PARTS:
            if (source / part).is_dir():
                shutil.copytree(source / part, folder / part)
            else:
                shutil.copyfile(source / part, folder / part)
    return folder / "postroom.toml"
