"""S1 to S6, and what forgers do with OpenPGP signatures of others. The signed mails are those of tests/openpgp/cases."""

import tomllib
from pathlib import Path
from typing import Any

from tests.cases.case import SAMPLE, Case, Fact
from tests.openpgp.making.mail import mail, multipart, text_part

_SIGNED = Path(__file__).parents[1] / "openpgp" / "cases"
_OTHER = {"id": "other", "name": "Other Person", "addresses": ["other@example.org"], "fingerprints": ["p256"]}
_NOBODY: dict[str, Any] = {"accounts": ()}


def _raw(name: str) -> bytes:
    return (_SIGNED / f"{name}.eml").read_bytes()


def _text(name: str) -> str:
    return str(tomllib.loads((_SIGNED / f"{name}.toml").read_text(encoding="utf-8"))["text"])


def _strong(name: str) -> Fact:
    return Fact("strong", "sample", method="openpgp", text=_text(name))


def _weak(reason: str) -> Fact:
    return Fact("weak", "sample", reason=reason)


def _returned(reason: str, code: str = "bad-signature") -> Fact:
    return Fact("weak", "sample", reason=reason, ends=f"returned {code}")


def _entity(name: str) -> bytes:
    """The Content-Type field and body of a case's mail."""
    header, body = _raw(name).split(b"\r\n\r\n", 1)
    return header[header.index(b"Content-Type:") :] + b"\r\n\r\n" + body


_CLEAR_PART = _entity("01-clear").removesuffix(b"\r\n")
_AS_FILE = b'Content-Disposition: attachment; filename="signed.txt"\r\n'
_UNSIGNED = text_part(b"status invalid\n")
_HTML = b"Content-Type: text/html\r\n\r\n<p>status invalid</p>"
_UNKNOWN = Fact("unknown", reason="no account")

OPENPGP_CASES = [
    Case("s1-clear-signed", "S1", "A clear-signed mail by the key of the account. It is strong.", _raw("01-clear"), _strong("01-clear")),
    Case("s2-mime", "S2", "The same as multipart/signed. It is strong.", _raw("20-mime"), _strong("20-mime")),
    Case("s3-key-of-nobody", "S3", "A good signature by a key that we hold and that is nobody's. It proves nothing of the author.",
         _raw("41-p256"), _weak("not one of the account's")),
    Case("s3-key-of-another", "S3", "Another account signed a mail that says it is from this one. It counts as unsigned, and says why.",
         _raw("41-p256"), _weak("not one of the account's"), accounts=(SAMPLE, _OTHER)),
    Case("s4-changed", "S4", "A word was changed behind the signature. The sender hears of it, and no handler sees it.",
         _raw("70-clear-changed"), _returned("it was changed")),
    Case("s4-mime-changed", "S4", "The same in a multipart/signed. It is returned.", _raw("71-mime-changed"), _returned("it was changed")),
    Case("s4-unknown-key", "S4", "Signed with a key that we do not hold. The notice names the key.",
         _raw("54-unknown-key"), _returned("which we do not hold")),
    Case("s4-expired-key", "S4", "The key had expired when it signed. It is returned.", _raw("46-expired"), _returned("had expired")),
    Case("s4-revoked-key", "S4", "The key had been superseded when it signed. It is returned.",
         _raw("48-superseded"), _returned("was revoked on")),
    Case("s4-compromised-key", "S4",
         "The key was revoked as compromised after it signed. A thief could have set the date, so it is returned.",
         _raw("50-compromised"), _returned("compromised")),
    Case("s4-damaged", "S4", "The signature block cannot be read. It is returned.",
         _raw("74-clear-damaged-armor"), _returned("not sound base64")),
    Case("s4-stranger", "S4", "The changed mail of somebody who has no account. Nothing is judged, and nothing is sent.",
         _raw("70-clear-changed"), _UNKNOWN, **_NOBODY),
    Case("s4-inactive", "S4", "The changed mail of an account that is not active. It ends silently, and the signature is not looked at.",
         _raw("70-clear-changed"), Fact("weak", "sample", reason="not active", ends="rejected inactive-account"),
         accounts=({**SAMPLE, "active": False},)),
    Case("s5-old", "S5", "Signed three days before it came. It is returned.",
         _raw("55-signed-three-days-ago"), _returned("too long before", "signature-time")),
    Case("s5-ahead", "S5", "Signed in 2099. It is returned.",
         _raw("57-signed-far-ahead"), _returned("after the mail arrived", "signature-time")),
    Case("s5-off", "S5", "Signed three days before it came, where the window is off. It is strong.",
         _raw("55-signed-three-days-ago"), _strong("55-signed-three-days-ago"), settings={"authentication": {"signature_max_age": "off"}}),
    Case("s6-line-feeds", "S6", "The line ends became LF. It verifies as the sender meant it.", _raw("02-clear-lf"),
         _strong("02-clear-lf")),
    Case("s6-mixed-line-ends", "S6", "Some lines end in LF, others in CRLF. It verifies.",
         _raw("22-mime-mixed-line-ends"), _strong("22-mime-mixed-line-ends")),
    Case("s6-trailing-blanks", "S6", "Blanks at the ends of lines came and went. Clear-signed text ignores them.",
         _raw("04-clear-trailing-blanks"), _strong("04-clear-trailing-blanks")),
    Case("s6-blank-lost-in-mime", "S6", "A blank at a line's end was lost from a multipart/signed. There it was signed.",
         _raw("72-mime-blank-lost"), _returned("it was changed")),
    Case("s6-dash-escapes", "S6", "Lines that begin with a dash were escaped. The signed text has them as written.",
         _raw("05-clear-dash-escapes"), _strong("05-clear-dash-escapes")),
    Case("s6-folded-header", "S6", "A header field of the signed part is folded. It is signed with its fold.",
         _raw("23-mime-folded-header"), _strong("23-mime-folded-header")),
    Case("s6-base64", "S6", "The clear-signed text came in base64. It is decoded first.", _raw("07-clear-base64"),
         _strong("07-clear-base64")),
    Case("s6-quoted-printable", "S6", "Likewise in quoted-printable. It is decoded first.",
         _raw("06-clear-quoted-printable"), _strong("06-clear-quoted-printable")),
    Case("s6-first-in-multipart", "S6", "A list put its footer behind the signed part. The footer is not in the signed text.",
         _raw("25-mime-with-list-footer"), _strong("25-mime-with-list-footer")),
    Case("s6-text-round-it", "S6", "Lines stand before and behind the signed block. They are not in the signed text.",
         _raw("08-clear-text-round-it"), _strong("08-clear-text-round-it")),
    Case("s1-legacy", "S1", "A DSA key of the account signed. By default it leaves the mail weak and without signed text.",
         _raw("60-dsa"), _weak("old kind")),
    Case("s1-legacy-strong", "S1", "The same where openpgp_legacy is strong. It is strong.",
         _raw("60-dsa"), _strong("60-dsa"), settings={"authentication": {"openpgp_legacy": "strong"}}),
    Case("s1-legacy-refused", "S1", "The same where openpgp_legacy is refuse. It is returned.",
         _raw("60-dsa"), _returned("old kind"), settings={"authentication": {"openpgp_legacy": "refuse"}}),
    # What others signed, shown as something else.
    Case("forged-behind-unsigned", "forgery",
         "An unsigned part stands before the signed one and is read first. The mail counts as unsigned.",
         _raw("90-behind-unsigned"), _weak("unsigned part stands before")),
    Case("forged-hollow-part", "forgery", "A multipart without parts stands first, whose text some programs show. It counts as unsigned.",
         _raw("99-behind-hollow-multipart"), _weak("unsigned part stands before")),
    Case("forged-third-part", "forgery", "A third part stands in a multipart/signed, where two belong. Nobody can say what was signed.",
         _raw("96-third-part"), _weak("RFC 3156")),
    Case("forged-html-first", "forgery", "An HTML part stands before a clear-signed text. It is what is shown.",
         mail(multipart("alternative", _HTML, _CLEAR_PART)), _weak("unsigned part stands before")),
    Case("forged-signed-file-first", "forgery",
         "The first part is a signed text as an attached file, the second is what the mail says. What is attached does not sign the mail.",
         mail(multipart("mixed", _AS_FILE + _CLEAR_PART, _UNSIGNED)), _weak("unsigned part stands before")),
    Case("forged-signed-entity-as-file", "forgery", "The same with a multipart/signed as the file. It counts as unsigned.",
         mail(multipart("mixed", _AS_FILE + _entity("20-mime").removesuffix(b"\r\n"), _UNSIGNED)), _weak("unsigned part stands before")),
    Case("forged-attached-mail", "forgery", "A signed mail is attached to an unsigned one. It is somebody else's mail.",
         _raw("92-attached"), _weak("not signed")),
    Case("forged-attached-alone", "forgery", "The attached signed mail is all there is. It is still an attached one.",
         _raw("93-attached-alone"), _weak("not signed")),
    Case("forged-hash-header", "forgery", "A line stands where the Hash headers are, and looks signed (CVE-2019-11841). It is returned.",
         _raw("80-hash-injection"), _returned("which nobody signed")),
    Case("forged-author", "forgery",
         "The signed mail of the account is sent on under another account's From. It is not that account's word.",
         _raw("01-clear").replace(b"Sample Person <test@", b"Other Person <other@"),
         Fact("weak", "other", "other@example.org", reason="not one of the account's"), accounts=(SAMPLE, _OTHER)),
    Case("replayed-within-the-window", "forgery",
         "OpenPGP signs the text and no recipient, so a signed mail sent on to another address within 48 hours is still the signer's word. "
         "What must not be done twice belongs in the signed text.",
         _raw("01-clear"), _strong("01-clear"), recipients=("close@foo.com",)),
    Case("replayed-later", "forgery", "The same mail two days later. The window ends it.",
         _raw("01-clear"), _returned("too long before", "signature-time"), received_at="2026-01-12T12:05:00Z",
         recipients=("close@foo.com",)),
]  # fmt: skip
