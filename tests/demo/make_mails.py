"""Made the mails, keys and zone of the demo (postroom/demo): run it again to make them anew, with new keys.

    python -m tests.demo.make_mails

Needs gpg and dkimpy. The private keys are thrown away.
"""

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from unittest.mock import patch

import dkim
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

HERE = Path(__file__).resolve().parents[2] / "postroom" / "demo"
SIGNED_AT = "20260302T095930"
SIGNED_AT_SECONDS = 1772445570
LONG_AGO = "20260214T080000"
_SIGNED_FIELDS = [b"From", b"To", b"Subject", b"Date"]


class Maker:
    """Writes numbered mails, each received at its own minute of one morning."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._number = 0
        self._folder = HERE / "mails"
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*.eml"):
            old.unlink()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._dkim_key = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
        (HERE / "zone.json").write_text(json.dumps({"mail._domainkey.north.example": f"v=DKIM1; k=rsa; p={public}"}, indent=2) + "\n")

    def gpg(self, *args: str, data: bytes = b"", at: str = SIGNED_AT) -> bytes:
        """One call of gpg at a given time."""
        command = ["gpg", "--homedir", str(self._home), "--batch", "--yes", "--quiet", "--faked-system-time", f"{at}!", *args]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    def mail(self, name: str, sender: str, to: str, subject: str, body: str, *, fields: str = "", dkim_signed: bool = False) -> None:
        """Writes one mail."""
        self._number += 1
        minute = self._number
        head = (
            f"From: {sender}\nTo: {to}\nSubject: {subject}\nDate: Mon, 02 Mar 2026 09:59:{minute:02d} +0000\n"
            f"Message-ID: <{name}.{minute}@mail.demo.example>\n{fields}"
        )
        data = f"{head}\n{body}".encode()
        if dkim_signed:
            crlf = data.replace(b"\n", b"\r\n")
            with patch("dkim.time.time", return_value=SIGNED_AT_SECONDS):
                signature = dkim.sign(crlf, b"mail", b"north.example", self._dkim_key, include_headers=_SIGNED_FIELDS)
            data = signature.replace(b"\r\n", b"\n") + data
        if "," not in to and "@" in to:
            data = f"X-Original-To: {to}\n".encode() + data
        received = (
            f"Received: from client.example by mx.demo.example with ESMTP id {minute:04d}; Mon, 02 Mar 2026 10:{minute:02d}:00 +0000\n"
        )
        (self._folder / f"{minute:02d}-{name}.eml").write_bytes(received.encode() + data)

    def clear_signed(self, text: str, at: str = SIGNED_AT) -> str:
        """The text, clear-signed by Ada."""
        return self.gpg("--clearsign", "-u", "ada@north.example", data=text.encode(), at=at).decode()


def main() -> None:
    """Makes everything."""
    with tempfile.TemporaryDirectory() as home:
        maker = Maker(Path(home))
        Path(home).chmod(0o700)
        generate = (
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
            "--quick-generate-key",
            "Ada North <ada@north.example>",
            "ed25519",
            "sign",
            "never",
        )
        maker.gpg(*generate, at="20260101T000000")
        (HERE / "keys").mkdir(exist_ok=True)
        (HERE / "keys" / "ada.asc").write_bytes(maker.gpg("--armor", "--export", "ada@north.example"))
        listing = maker.gpg("--with-colons", "--fingerprint", "ada@north.example").decode()
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        accounts = (HERE / "accounts.toml").read_text()
        before, _, rest = accounts.partition('fingerprints = ["')
        (HERE / "accounts.toml").write_text(f'{before}fingerprints = ["{fingerprint}"]{rest.partition("]")[2]}')
        _mails(maker)


def _mails(maker: Maker) -> None:
    ada, ben, eve = "Ada North <ada@north.example>", "Ben South <ben@south.example>", "Eve Elsewhere <eve@elsewhere.example>"
    bugs = "bugs.demo.example"
    # What is handled.
    maker.mail(
        "signed-command", ada, f"new@{bugs}", "The lift sticks at floor 3", maker.clear_signed("The doors open, the cabin does not move.\n")
    )
    maker.mail(
        "dkim-signed", "Cleo North <cleo@north.example>", f"1@{bugs}", "Re: The door squeaks", "It squeaks since noon.\n", dkim_signed=True
    )
    maker.mail("plain-comment", ben, f"1@{bugs}", "Re: The door squeaks", "Same here.\n")
    maker.mail("from-a-stranger", eve, "help@support.demo.example", "How do I pay?", "By card, if that is possible.\n")
    maker.mail(
        "two-recipients",
        ben,
        f"1@{bugs}, help@support.demo.example",
        "Lift, and a question",
        "Who repairs it?\n",
        fields="Cc: friend@elsewhere.example\n",
    )
    # What robots write: dropped, and nobody hears anything.
    maker.mail(
        "bounce", "Mail Delivery System <MAILER-DAEMON@mx.far.example>", f"1@{bugs}", "Undelivered", "Sorry.\n", fields="Return-Path: <>\n"
    )
    report = 'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\n'
    maker.mail("delivery-report", "post@far.example", f"1@{bugs}", "Delayed", "--b\n\nStill trying.\n--b--\n", fields=report)
    maker.mail("newsletter", "News <news@shop.example>", f"1@{bugs}", "Our offers", "Buy.\n", fields="Precedence: bulk\n")
    maker.mail("vacation", ben, f"1@{bugs}", "Out of office", "Back on Monday.\n", fields="Auto-Submitted: auto-replied\n")
    maker.mail("no-reply", "no-reply@shop.example", f"1@{bugs}", "Your parcel", "It is on its way.\n")
    maker.mail(
        "our-own-reply",
        "Demo Postroom <postroom@demo.example>",
        f"1@{bugs}",
        "Re: hello",
        "Sorry.\n",
        fields="X-Postroom-Reply: 0123456789abcdef\n",
    )
    # What is not for us to answer: rejected.
    maker.mail("stranger-to-bugs", eve, f"1@{bugs}", "Me too", "Same.\n")
    maker.mail("left-the-company", "Dan Gone <dan@south.example>", f"1@{bugs}", "Hello", "Again.\n")
    maker.mail("nowhere-to-go", ben, "undisclosed-recipients:;", "To whom?", "Anybody?\n")
    maker.mail("two-authors", ben, f"1@{bugs}", "Who am I?", "Both.\n", fields=f"From: {ada}\n")
    # What the sender is told about: returned.
    changed = maker.clear_signed("Please close this bug.\n").replace("close this bug", "close all bugs")
    maker.mail("changed-on-the-way", ada, f"1@{bugs}", "Close", changed)
    maker.mail("signed-long-ago", ada, f"1@{bugs}", "Close", maker.clear_signed("Please close this bug.\n", LONG_AGO))
    maker.mail("proof-demanded", ben, "key@vault.demo.example", "Open the vault", "Please.\n")
    maker.mail("no-such-bug", ben, f"4711@{bugs}", "Comment", "On which bug?\n")
    # What went wrong with us: failed, with an OOPS.
    maker.mail("no-handler", ben, "somebody@other.demo.example", "Hello?", "Is anybody there?\n")
    maker.mail("crashing-command", ben, f"13@{bugs}", "Unlucky", "This one makes the handler raise.\n")
    maker.mail("says-no", ben, f"0@{bugs}", "Nothing", "The handler says False to this.\n")


if __name__ == "__main__":
    main()
