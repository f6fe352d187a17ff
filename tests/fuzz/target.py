"""What is fuzzed: any bytes as a mail, through the authentication stage; and what must hold of whatever comes out.

A mail is strong only if its canonical signed form is that of a mail which the account signed: RFC 6376 3.4 for DKIM, RFC 9580 7.1 for
clear-signed text, RFC 3156 5 for PGP/MIME, each as the tests write it a second time, apart from the program's own.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from tests.dkim.signer import record, sign
from tests.dkim.test_fuzz import FORMS, authors, forms
from tests.openpgp.conftest import CASES, KEYS
from tests.openpgp.test_mutations import _canonical as openpgp_form
from topology.answers import Answer
from topology.authentication import AuthenticationStep
from topology.facts import Facts
from topology.foreign import foreign_envelope
from topology.head import HeadReader
from topology.item import Item
from topology.openpgp import Keyring, SignedRange
from topology.openpgp.gnupg import GnupgError
from topology.ports import Account
from topology.proofs import Policy
from topology.records import Topics

AT = 1_768_046_700_000  # 2026-01-10T12:05:00Z: five minutes after the OpenPGP signatures, and a year and a half after DKIM's
READER = HeadReader()
ADDRESS = "test@example.org"
POLICY = Policy(trusted_domains=("*",), authserv_id="mx.ours.example")
_ZONE = {"sel._domainkey.example.org": record("rsa-1024"), "ed._domainkey.example.org": record("ed25519")}
_MAIL = (CASES / "20-mime.eml").read_bytes()
_OPENPGP = (
    "01-clear",
    "02-clear-lf",
    "05-clear-dash-escapes",
    "07-clear-base64",
    "08-clear-text-round-it",
    "20-mime",
    "25-mime-with-list-footer",
)


@cache
def seeds() -> tuple[bytes, ...]:
    """Mails that are strong: each DKIM form and key, OpenPGP in each of its forms, and all at once."""
    unsigned = _MAIL.replace(b"multipart/signed", b"multipart/mixed")
    dkim = [sign(unsigned, "rsa-1024", tags={"c": form, "h": "from:to:subject:date:message-id:cc"}) for form in FORMS]
    dkim.append(sign(dkim[0], "ed25519", tags={"s": "ed", "h": "from:subject:from"}))
    openpgp = [(CASES / f"{name}.eml").read_bytes() for name in _OPENPGP]
    return (*dkim, *openpgp, sign(_MAIL, "rsa-1024"))


FORGED = (
    b"Authentication-Results: mx.ours.example; dkim=pass header.d=example.org\r\nFrom: test@example.org\r\nSubject: hello\r\n\r\nhello\r\n"
)
"""What a forger would like to hand over; `Target.hold_forged` gets it changed."""


class NoGnupg:
    """In place of GnuPG: ten milliseconds a signature are too many here. What only it could judge is `unjudged` then."""

    def check(self, *_: Any) -> Any:
        raise GnupgError("left out")


class _Keys(Keyring):
    @property
    def gnupg(self) -> Any:
        return NoGnupg()


class Target:
    """The stage with one account, its key and its domain's keys. Everything that it holds is made once."""

    def __init__(self) -> None:
        held = _Keys.of((path.stem, path.read_bytes()) for path in KEYS.glob("*.asc") if path.stem != "stranger")
        own = next(iter(Keyring.of([("key", (KEYS / "ed25519.asc").read_bytes())]).fingerprints()))
        account = Account("sample", "Sample Person", addresses=(ADDRESS,), fingerprints=(own,))
        answers = {name: Answer.of([text]) for name, text in _ZONE.items()}

        class World:
            def lookup(self, addresses: Collection[str]) -> Mapping[str, Account]:
                return {ADDRESS: account} if ADDRESS in addresses else {}

            def txt(self, names: Collection[str]) -> Mapping[str, Answer]:
                return {name: answers.get(name, Answer("none")) for name in names}

        self._step = AuthenticationStep(Topics("mail"), READER, None, World(), World(), held, POLICY, lambda: AT)  # type: ignore[arg-type]
        self._dkim = {form for raw in seeds() for form in forms(raw) if form}
        self._openpgp: list[list[bytes]] = []
        for raw in seeds():
            told = self.judge(raw).authentication
            assert told and told.strength == "strong", told
            if told.openpgp and told.openpgp["signed"]:
                self._openpgp.append(openpgp_form(raw, SignedRange(**told.openpgp["signed"])))

    def judge(self, raw: bytes) -> Facts:
        """The facts behind the stage."""
        facts = Facts(foreign_envelope(raw, AT, READER))
        facts = facts.having(envelope=_received(facts))
        item = Item(None, facts, raw, READER)  # type: ignore[arg-type]
        decision = self._step.decide(item, self._step.prepare([item]))
        decision.facts.encode()
        return decision.facts

    def hold_forged(self, raw: bytes) -> None:
        """Judges any bytes as our mail server would hand them over. Raises AssertionError where they pretend to be its word."""
        told = self.judge(past_our_server(raw)).authentication
        assert told is None or told.method != "authentication-results", told

    def hold(self, raw: bytes) -> bool:
        """Judges any bytes, and whether they came out strong. Raises AssertionError when they may not have."""
        told = self.judge(raw).authentication
        if told is None or told.strength != "strong":
            return False
        assert told.account == "sample", told
        if told.method == "openpgp":
            assert told.openpgp, told
            assert openpgp_form(raw, SignedRange(**told.openpgp["signed"])) in self._openpgp, told
        elif told.method == "dkim":
            passed = [form for one, form in zip(told.dkim, forms(raw), strict=False) if one["result"] == "pass"]
            assert any(form in self._dkim for form in passed), told
            # A reader that stops at a blank before a colon may see no author; none sees another.
            assert authors(raw) in ([], ["Sample Person <test@example.org>"]), told
        else:
            assert b"mx.ours.example" in raw.lower(), told  # only whoever writes in our server's name
        return True


def past_our_server(raw: bytes) -> bytes:
    """The mail behind a mail server that takes Authentication-Results fields with our name out of what comes from outside, and is as plain
    as such programs get: lines end at LF, no blank stands behind a name, the header ends at the first line that is no field, and our
    name is the field's first word, letter by letter."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", raw)
    kept = [b"Received: from outside by mx.ours.example; Sat, 10 Jan 2026 12:05:00 +0000\r\n"]
    at = 0
    while at < len(lines) and (name := _NAME.match(lines[at])):
        end = at + 1
        while end < len(lines) and lines[end][:1] in (b" ", b"\t"):
            end += 1
        value = b"".join(lines[at:end]).partition(b":")[2].replace(b"\r", b"").replace(b"\n", b"")
        ours = name[1].lower() == b"authentication-results" and re.split(rb"[ \t;]", value.lstrip(b" \t"))[0].lower() == b"mx.ours.example"
        kept += [] if ours else lines[at:end]
        at = end
    if at == 0:  # no header at all, so every server puts an empty line between its own fields and what came
        kept.append(b"\r\n")
    return b"".join(kept + lines[at:])


_NAME = re.compile(rb"([!-9;-~]+):")


def _received(facts: Facts) -> Any:
    """The envelope with the time of receipt that is meant: the fuzzer may not choose it."""
    return replace(facts.envelope, received_at="2026-01-10T12:05:00.000Z")
