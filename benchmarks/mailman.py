"""GNU Mailman 3's LMTP runner as a peer: run from an installation of its own (`pip install mailman`), never imported."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECIPIENT = b"bugs@example.org"
_SETTINGS = """
[mailman]
layout: bench
[paths.bench]
var_dir: {folder}
bin_dir: {bin}
[mta]
incoming: mailman.mta.null.NullMTA
lmtp_host: 127.0.0.1
lmtp_port: {port}
"""


@contextmanager
def serving(installed: Path) -> Iterator[str]:
    """The address of the runner, which takes mails for RECIPIENT into its queue directory. installed: the folder of the virtual
    environment that holds Mailman."""
    with tempfile.TemporaryDirectory(prefix="mailman-bench-", dir=".") as name:
        folder = Path(name).resolve()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = folder / "mailman.cfg"
        settings.write_text(_SETTINGS.format(folder=folder, bin=installed / "bin", port=port))
        environment = {**os.environ, "MAILMAN_CONFIG_FILE": str(settings)}
        create: list[str | Path] = [
            installed / "bin" / "mailman",
            *(["--run-as-root"] if os.geteuid() == 0 else []),
            "create",
            "-d",
            RECIPIENT.decode(),
        ]
        subprocess.run(create, env=environment, check=True, capture_output=True)
        runner: list[str | Path] = [installed / "bin" / "runner", "--runner=lmtp:0:1", "-C", settings]
        with subprocess.Popen(runner, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(port, process)
                yield f"127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"Mailman's runner ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("Mailman's runner does not listen")
