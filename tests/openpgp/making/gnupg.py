"""A GnuPG home for making keys and signatures at any time of the past."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Self

KEYS = Path(__file__).parent.parent / "keys"
SECRET = KEYS / "secret"

SIGNED_AT = "20260110T120000"
"""When the mails of the cases were signed unless they say otherwise; they are received five minutes later."""


class Home:
    """A home below the system's folder for temporary files, with its agent, gone when the block ends."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="cases-")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["gpgconf", "--homedir", self._folder.name, "--kill", "all"], check=True)
        self._folder.cleanup()

    def run(self, *arguments: str, data: bytes = b"", at: str | None = None) -> bytes:
        """gpg's standard output. data: its standard input, or its commands with --command-fd. at: the time it is told."""
        when = ["--faked-system-time", at] if at else []
        command = ["gpg", "--homedir", self._folder.name, "--no-tty", "--yes", "--pinentry-mode", "loopback", "--passphrase", "", *when]
        done = subprocess.run([*command, *arguments], input=data, capture_output=True, env={"PATH": os.environ["PATH"]}, check=False)
        if done.returncode:
            raise RuntimeError(f"gpg {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def batch(self, *arguments: str, data: bytes = b"", at: str | None = None) -> bytes:
        """As `run`, without questions."""
        return self.run("--batch", *arguments, data=data, at=at)

    def fingerprint(self, name: str) -> str:
        """Of the key made under that name."""
        lines = self.batch("--with-colons", "--list-keys", f"={user(name)}").decode().split("\n")
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def names(self) -> set[str]:
        """Of all keys in the home."""
        lines = self.batch("--with-colons", "--list-keys").decode().split("\n")
        return {line.split(":")[9].split(" ")[0] for line in lines if line.startswith("uid:")}

    def make(
        self, name: str, algorithm: str, usage: str = "sign", expires: str = "never", at: str = "20200101T000000", *options: str
    ) -> None:
        """A key without a passphrase."""
        self.batch(*options, "--quick-gen-key", user(name), algorithm, usage, expires, at=at)

    def keep_public(self, name: str) -> None:
        """Writes the public key to tests/openpgp/keys."""
        (KEYS / f"{name}.asc").write_bytes(self.batch("--armor", "--export", f"={user(name)}"))

    def keep_secret(self, name: str) -> None:
        """Writes the secret key beside the public ones, into a folder that no keyring reads."""
        (SECRET / f"{name}.asc").write_bytes(self.batch("--armor", "--export-secret-keys", f"={user(name)}"))

    def clear(self, text: bytes, *names: str, at: str = SIGNED_AT, options: tuple[str, ...] = ()) -> bytes:
        """The text clear-signed by the keys of those names, with LF; with SHA-512 unless the options say otherwise."""
        return self.batch("--digest-algo", "SHA512", *options, *_users(names), "--clearsign", data=text, at=at)

    def detached(self, data: bytes, *names: str, at: str = SIGNED_AT, options: tuple[str, ...] = ("--armor",)) -> bytes:
        """A detached signature by the keys of those names, armoured with LF unless the options say otherwise."""
        return self.batch("--digest-algo", "SHA512", *options, *_users(names), "--detach-sign", data=data, at=at)


def user(name: str) -> str:
    """The user id of the key of that name."""
    return f"{name} <{name}@example.org>"


def _users(names: tuple[str, ...]) -> list[str]:
    return [word for name in names for word in ("--local-user", f"={user(name)}")]
