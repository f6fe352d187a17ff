"""What `postroom init` writes: a commented settings file, an accounts file, and a folder for public keys."""

from importlib.resources import files
from pathlib import Path

from postroom.settings import SettingsError


def write(file: Path) -> list[Path]:
    """Writes the files beside each other; gives their paths. Raises SettingsError, touching nothing, when one is there already."""
    folder = file.parent
    source = files("postroom") / "samples"
    wanted = {file: (source / "postroom.toml").read_text("utf-8"), folder / "accounts.toml": (source / "accounts.toml").read_text("utf-8")}
    if there := [path for path in wanted if path.exists()]:
        raise SettingsError(f"{there[0]}: is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keys").mkdir(exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be written: {error.strerror}") from error
    return [*wanted, folder / "keys"]
