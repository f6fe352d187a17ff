"""`make fuzz`: changes signed mails for as long as it is told to, and stops at the first that proves what it should not, or that fails.

    python -m tests.fuzz [--seconds 60] [--seed 1] [--own-loop] [FILE…]

With atheris (tests/fuzz/requirements.txt) the changes are guided by the code that they reach; without it, or with --own-loop, they are
drawn at random. Each mail may take five seconds and the process 1 GiB. FILE: judge these mails alone, as those that a run has left behind.
"""

import argparse
import importlib
import importlib.util
import logging
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ONE_MAIL = 5
"""Seconds that one mail may take."""
MEMORY = 1 << 30
LARGEST = 65_536

PIECES = [
    b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\xff", b":", b";", b"=", b"b=", b"- ", b"--", b'"',
    b"(", b")", b"\\", b"From: x@y.z\r\n", b"From : x@y.z\r\n", b"Sender: test@example.org\r\n", b"Subject: z\r\n", b"Cc: x@y.z\r\n",
    b"Content-Type: text/html\r\n", b"Content-Transfer-Encoding: base64\r\n", b"Content-Disposition: attachment\r\n", b"Hash: SHA512\r\n",
    b"-----BEGIN PGP SIGNED MESSAGE-----\r\n", b"-----BEGIN PGP SIGNATURE-----\r\n", b"-----END PGP SIGNATURE-----\r\n", b"--=_signed\r\n",
    b"--=_signed--\r\n", b"Authentication-Results: mx.theirs.example; dkim=pass header.d=example.org\r\n",
    b"From nobody Mon Mar  2 10:00:00 2026\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=sel; h=from; bh=; b=\r\n", b"test@example.org", b"eve@evil.example",
    b"status invalid\r\n",
]  # fmt: skip


def changed(draw: random.Random, raw: bytes, others: tuple[bytes, ...]) -> bytes:
    """The mail with one to four changes."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randint(0, len(raw))
        end = min(len(raw), at + draw.choice((0, 1, 2, 8, 80, 400)))
        piece = draw.choice(PIECES) if draw.random() < 0.7 else draw.randbytes(draw.randint(1, 4))
        kind = draw.randrange(7)
        if kind == 0:
            raw = raw[:at] + piece + raw[end:]
        elif kind == 1:
            raw = raw[:at] + piece + raw[at:]
        elif kind == 2:
            raw = raw[:end] + raw[at:end] + raw[end:]
        elif kind == 3:
            raw = raw[:at] + raw[at:end].swapcase() + raw[end:]
        elif kind == 4:
            rest = raw[:at] + raw[end:]
            to = draw.randint(0, len(rest))
            raw = rest[:to] + raw[at:end] + rest[to:]
        elif kind == 5:  # whole lines, where most of the meaning is
            lines = raw.splitlines(keepends=True)
            lines.insert(draw.randint(0, len(lines)), lines.pop(draw.randrange(len(lines))) if lines and draw.random() < 0.5 else piece)
            raw = b"".join(lines)
        else:
            other = draw.choice(others)
            start = draw.randint(0, len(other))
            raw = raw[:at] + other[start : start + draw.choice((40, 400, 4000))] + raw[end:]
    return raw[:LARGEST]


def own_loop(seconds: float, seed: int) -> None:
    """Random changes until the time is over."""
    from tests.fuzz.target import FORGED, Target, seeds

    target, draw, until = Target(), random.Random(seed), time.monotonic() + seconds
    count = strong = 0
    signal.signal(signal.SIGALRM, _too_slow)
    while time.monotonic() < until:
        raw = changed(draw, draw.choice(seeds()), seeds())
        signal.alarm(ONE_MAIL)
        try:
            strong += target.hold(raw)
            target.hold_forged(changed(draw, FORGED, seeds()))
        except BaseException:
            _leave(raw)
            raise
        signal.alarm(0)
        count += 1
    print(f"{count:,} changed mails, of which {strong:,} kept their signed form and are strong; none that should not be. Seed {seed}")


def _too_slow(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"one mail took more than {ONE_MAIL} s")


def _leave(raw: bytes) -> None:
    Path("fuzz-failed.eml").write_bytes(raw)
    print("the mail is in fuzz-failed.eml; judge it again with: python -m tests.fuzz fuzz-failed.eml", file=sys.stderr)


def guided(seconds: float, seed: int) -> None:
    """atheris, which ends the process itself."""
    atheris: Any = importlib.import_module("atheris")  # not among our own dependencies
    with atheris.instrument_imports(include=["topology"]):
        from tests.fuzz.target import FORGED, Target, seeds
    target = Target()
    folder = tempfile.mkdtemp(prefix="fuzz-")
    for number, raw in enumerate((*seeds(), FORGED)):
        Path(folder, f"seed-{number}").write_bytes(raw)
    draw = random.Random(seed)

    def mutate(data: bytes, max_size: int, _seed: int) -> bytes:
        # Half as libFuzzer does it, half as the loop does, which knows what mails are made of.
        return bytes(atheris.Mutate(data, max_size)) if draw.random() < 0.5 else changed(draw, data, seeds())[:max_size]

    limits = [
        f"-max_total_time={int(seconds)}",
        f"-timeout={ONE_MAIL}",
        f"-rss_limit_mb={MEMORY >> 20}",
        f"-max_len={LARGEST}",
        f"-seed={seed}",
    ]

    def both(raw: bytes) -> None:
        target.hold(raw)
        target.hold_forged(raw)

    atheris.Setup([sys.argv[0], *limits, "-artifact_prefix=fuzz-", folder], both, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    """Reads the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--own-loop", action="store_true")
    options.add_argument("files", nargs="*", type=Path)
    given = options.parse_args()
    logging.disable(logging.CRITICAL)
    if given.files:
        from tests.fuzz.target import Target

        target = Target()
        for path in given.files:
            print(path, "strong, and rightly" if target.hold(path.read_bytes()) else "not strong")
    elif given.own_loop or importlib.util.find_spec("atheris") is None:
        resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY, 2 * MEMORY))  # addresses, of which libraries take half a GiB without using them
        own_loop(given.seconds, given.seed)
    else:
        guided(given.seconds, given.seed)


if __name__ == "__main__":
    main()
