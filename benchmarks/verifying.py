"""Verifications a second for each method and kind of key, beside the bare library call; and what authentication costs the chain.

    python -m benchmarks.verifying [--seconds 1] [--batches 20]

Mails have about 4 KB. DKIM: keys warm, DNS left out; the bare call is `cryptography`'s on data and hash that are ready, and dkimpy is the
peer. OpenPGP: certificates parsed; the bare call is pysequoia's on the signed bytes (for what only GnuPG judges, a gpg process started by
hand). The signed mails are made here, with the keys of the tests. Times are CPU times of one core, so that a busy machine does
not spoil them; for GnuPG, whose work is in other processes, they are wall time. The best of several rounds counts.
"""

import argparse
import atexit
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import dkim as dkimpy
import pysequoia
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks.figures import machine, say
from postroom import collecting
from postroom.site import Site
from streams.record import Record
from tests.dkim.signer import key, record, sign
from tests.openpgp.conftest import KEYS
from tests.openpgp.making.gnupg import SECRET, Home
from tests.openpgp.making.mail import crlf, mail, plain, signed, text_part
from topology import dkim
from topology.answers import Answer
from topology.chain import Chain
from topology.facts import Facts
from topology.item import Decision, Item
from topology.openpgp import Keyring, verify
from topology.records import raw_draft
from topology.step import Step

SECONDS = 1.0
BATCHES, BATCH = 20, 500
AT = 1_768_046_700_000  # 2026-01-10T12:05:00Z, five minutes after the signatures were made
_TEXT = b"A line of text that says as much as such lines do, and no more.\n" * 55
_FORMS = ("relaxed/relaxed", "simple/simple")
_NAME = "sel._domainkey.example.org"


def main(seconds: float = SECONDS, batches: int = BATCHES) -> None:
    """Prints every figure."""
    logging.disable(logging.ERROR)
    print(f"verifying: {machine()}, mails of 4 KB, one core, CPU time")
    of_dkim(seconds)
    if shutil.which("gpg"):
        with Home() as home:
            for path in sorted(SECRET.glob("*.asc")):
                if path.stem in ("ed25519", "rsa", "p256"):
                    home.batch("--import", data=path.read_bytes())
            of_openpgp(home, seconds)
            of_stage(home.clear(_TEXT, "ed25519"), batches)
    else:
        print("gpg is not installed: OpenPGP and the stage are left out")


def rate(call: Callable[[], Any], seconds: float, clock: Callable[[], float] = time.process_time) -> float:
    """Calls a second, the best of five rounds."""
    best = 0.0
    for _ in range(5):
        count, started = 0, clock()
        while (taken := clock() - started) < seconds / 5:
            call()
            count += 1
        best = max(best, count / taken)
    return best


# -- DKIM -------------------------------------------------------------------------------------------------------------------------


def of_dkim(seconds: float) -> None:
    """Ours, the bare call and dkimpy, for each kind of key and both forms."""
    unsigned = _unsigned("test@example.org")
    for name in ("rsa-1024", "rsa-2048", "ed25519"):
        answers = {_NAME: Answer.of([record(name)])}
        bare = rate(_bare(name), seconds)
        for form in _FORMS:
            raw = sign(unsigned, name, tags={"c": form, "t": str(AT // 1000 - 300)})

            def ours(raw: bytes = raw, answers: Mapping[str, Answer] = answers) -> str:
                return dkim.verify(dkim.signatures(raw), answers, AT)[0].result

            assert ours() == "pass"
            mine = rate(ours, seconds)
            beside = f"{mine / bare:.2f} of the bare call's {bare:,.0f}"
            if name != "ed25519":  # dkimpy needs a further library for it

                def theirs(raw: bytes = raw, text: bytes = record(name).encode()) -> bool:
                    return bool(dkimpy.verify(raw, dnsfunc=lambda _name, timeout=5: text))

                assert theirs()
                beside += f"; dkimpy {rate(theirs, seconds):,.0f}"
            say(f"DKIM {name}, {form}", mine, "mails/s", beside)


def _bare(name: str) -> Callable[[], None]:
    private, data = key(name), b"d" * 600
    if isinstance(private, RSAPrivateKey):
        made, public = private.sign(data, PKCS1v15(), SHA256()), private.public_key()
        return lambda: public.verify(made, data, PKCS1v15(), SHA256())
    digest, public_ed = sha256(data).digest(), private.public_key()
    made = private.sign(digest)
    return lambda: public_ed.verify(made, digest)


# -- OpenPGP ----------------------------------------------------------------------------------------------------------------------


def of_openpgp(home: Home, seconds: float) -> None:
    """Ours and the bare call, for each kind of key and both forms."""
    held = Keyring.of((path.stem, path.read_bytes()) for path in KEYS.glob("*.asc"))
    part = text_part(_TEXT)
    for name in ("ed25519", "rsa", "p256"):
        certificate = pysequoia.Cert.from_file(str(KEYS / f"{name}.asc"))
        armor = home.detached(part, name)

        def bare(certificate: Any = certificate, armor: bytes = armor) -> None:
            pysequoia.verify(bytes=part, store=lambda _ids: [certificate], signature=pysequoia.Sig.from_bytes(armor))

        bound = rate(bare, seconds)
        for form, raw in (("clear-signed", plain(home.clear(_TEXT, name))), ("PGP/MIME", mail(signed(part, armor)))):
            mine = rate(partial(_good, raw, held), seconds)
            say(f"OpenPGP {name}, {form}", mine, "mails/s", f"{mine / bound:.2f} of the bare call's {bound:,.0f}")
    armor = home.detached(part, "rsa", options=("--armor", "--digest-algo", "SHA1"))
    bound = rate(_by_hand(part, armor), seconds, time.perf_counter)
    mine = rate(partial(_good, mail(signed(part, armor, micalg="")), held), seconds, time.perf_counter)
    say("OpenPGP rsa with SHA-1, PGP/MIME, judged by GnuPG", mine, "mails/s", f"{mine / bound:.2f} of gpg --verify by hand, {bound:,.0f}")


def _good(raw: bytes, held: Keyring) -> None:
    found = verify(raw, AT, held)
    assert found
    assert found.signatures[0].verdict == "good", found


def _by_hand(part: bytes, armor: bytes) -> Callable[[], object]:
    folder = Path(tempfile.mkdtemp(prefix="bench-gnupg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "part").write_bytes(part)
    (folder / "part.asc").write_bytes(armor)
    gpg = ["gpg", "--homedir", str(folder), "--batch", "--quiet", "--no-autostart", "--trust-model=always"]
    subprocess.run([*gpg, "--import", str(KEYS / "rsa.asc")], check=True, capture_output=True)
    command = [*gpg, "--faked-system-time", "20260110T120000!", "--verify", str(folder / "part.asc"), str(folder / "part")]
    return partial(subprocess.run, command, check=True, capture_output=True)


# -- the stage --------------------------------------------------------------------------------------------------------------------

_SETTINGS = """
[log]
url = "sqlite:///postroom.db"
[accounts]
file = "accounts.toml"
keys = "keys/"
[authentication]
trusted_domains = ["*"]
dns_zone = "zone.json"
[handlers.sink]
use = "maildir"
path = "sink/"
domains = ["sink.example"]
[replies]
outbox = "outbox/"
"""


class _Known(Step):
    """In place of authentication: says what that stage said, at no cost."""

    name = "authentication"

    def __init__(self, step: Step, facts: Mapping[str, Facts]) -> None:
        self.source, self.target, self._facts = step.source, step.target, facts

    def load(self, records: Sequence[Record]) -> list[Item]:
        """Not asked: the chain loads by its first step."""
        raise AssertionError

    def facts_of(self, record: Record) -> Facts:
        """Likewise."""
        raise AssertionError

    def prepare(self, items: Sequence[Item]) -> None:
        """Nothing."""

    def decide(self, item: Item, prepared: Any) -> Decision:
        known = self._facts[item.facts.envelope.mail_id].authentication
        return Decision(item.facts.having(authentication=known), onward=True)


def of_stage(block: bytes, batches: int) -> None:
    """The chain's three steps on a mixed batch, with authentication and with its word given: 60 % of the mails are unsigned, 30 % signed by
    DKIM (rsa-2048, keys warm, ten domains), 10 % clear-signed (Ed25519)."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    collecting.settle()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, closing(_site(Path(folder))) as site:
        records = list(_records(site, batches, block))
        known: dict[str, Facts] = {}
        best = {"with": float("inf"), "without": float("inf")}
        for _ in range(3):
            for which in ("with", "without"):
                steps = site.steps()
                if which == "without":
                    steps[1] = _Known(steps[1], known)
                best[which] = min(best[which], _seconds(Chain(steps, site.topics, site.oopses, lambda: AT), records, known))
    count = len(records)
    strong = sum(facts.authentication is not None and facts.authentication.strength == "strong" for facts in known.values())
    assert strong == count * 4 // 10, strong
    say("chain without authentication, mixed batch", count / best["without"], "mails/s")
    extra = 1e6 * (best["with"] - best["without"]) / count
    ratio = best["without"] / best["with"]
    say("chain with authentication (60/30/10)", count / best["with"], "mails/s", f"{ratio:.2f} of it, {extra:.0f} µs a mail more")


def _seconds(chain: Chain, records: Sequence[Record], known: dict[str, Facts]) -> float:
    """CPU seconds of the whole chain, without the log."""
    chain.assigned(frozenset(range(8)))
    taken = 0.0
    for start in range(0, len(records), BATCH):
        started = time.process_time()
        results = chain.process(records[start : start + BATCH])
        taken += time.process_time() - started
        if len(known) < len(records):
            for result in results:
                assert isinstance(result, list)
                for draft in result:
                    if draft.topic.endswith(".authenticated"):
                        facts = Facts.decode(draft.value)
                        known[facts.envelope.mail_id] = facts
    return taken


def _site(folder: Path) -> Site:
    """500 accounts of ten domains, one key."""
    (folder / "keys").mkdir()
    shutil.copy(KEYS / "ed25519.asc", folder / "keys")
    fingerprint = next(iter(Keyring.load(folder / "keys").fingerprints()))
    rows = (f'[[account]]\nid = "a{n}"\naddresses = ["{_address(n)}"]\nfingerprints = ["{fingerprint}"]\n' for n in range(500))
    (folder / "accounts.toml").write_text("".join(rows))
    zone = ", ".join(f'"sel._domainkey.d{n}.example": "{record("rsa-2048")}"' for n in range(10))
    (folder / "zone.json").write_text("{" + zone + "}")
    (folder / "postroom.toml").write_text(_SETTINGS)
    site = Site.at(folder / "postroom.toml")
    site.ensure_topics()
    return site


def _address(number: int) -> str:
    return f"person{number % 500}@d{number % 10}.example"


def _unsigned(author: str, number: int = 0, body: bytes = _TEXT) -> bytes:
    head = (
        "Received: from mx1.sender.example (mx1.sender.example [192.0.2.1]) by mx.sink.example (Postfix)\r\n"
        f" with ESMTPS id 4F{number:06X} for <x@sink.example>; Sat, 10 Jan 2026 12:05:00 +0000 (UTC)\r\n"
        f"From: Person <{author}>\r\nTo: <box{number % 50}@sink.example>\r\nSubject: Some words on matter {number}\r\n"
        f"Message-ID: <{number}.bench@sender.example>\r\nDate: Sat, 10 Jan 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    )
    return head.encode() + crlf(body)


def _records(site: Site, batches: int, block: bytes) -> Iterator[Record]:
    from postroom.ingest.reading import Kept

    for number in range(batches * BATCH):
        kind = number * 7 % 10  # mixed, and each kind from all domains over time
        author = _address(number // 10 + number)
        raw = _unsigned(author, number, block if kind == 9 else _TEXT)
        if 6 <= kind < 9:
            raw = sign(raw, "rsa-2048", tags={"d": author.partition("@")[2], "t": str(AT // 1000 - 300)})
        kept = Kept(raw, len(raw), sha256(raw).hexdigest(), False)
        recipient = f"box{number % 50}@sink.example"
        (one,) = site.acceptor.arrivals(kept, sender=author, recipients=(recipient,), via="lmtp", received_ms=AT)
        draft = raw_draft(site.topics, one.envelope, raw)
        yield Record(draft.topic, 0, number, AT, draft.key, draft.value, draft.headers)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=SECONDS, help="how long each figure is measured")
    options.add_argument("--batches", type=int, default=BATCHES, help="of 500 mails, through the chain")
    given = options.parse_args()
    main(given.seconds, given.batches)
