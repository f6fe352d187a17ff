"""Clear-signed mails that hold (S1, S6)."""

from collections.abc import Iterator

from tests.openpgp.making.case import Case, Expected, good
from tests.openpgp.making.gnupg import Home
from tests.openpgp.making.mail import SHOWN, TEXT, crlf, head, in_base64, mail, multipart, plain, quoted_printable, text_part

_BEFORE = b"Hello,\nthis line is not signed.\n\n"
_AFTER = b"\n_______\nA footer that a list put here: status invalid\n"


def cases(home: Home) -> Iterator[Case]:
    """All of them."""
    block = home.clear(TEXT, "ed25519")
    yield Case(
        "01-clear",
        "A clear-signed mail by an Ed25519 key, with CRLF as SMTP has it. The plainest good signature there is.",
        plain(block),
        good("ed25519"),
        SHOWN,
    )
    yield Case(
        "02-clear-lf",
        "The same mail with LF throughout, as a pipe hands it over. Line ends do not count in a clear-signed text.",
        plain(block).replace(b"\r\n", b"\n"),
        good("ed25519"),
        SHOWN,
    )
    mixed = plain(block).replace(b"affects postroom\r\n", b"affects postroom\n").replace(b"Hash: SHA512\r\n", b"Hash: SHA512\n")
    yield Case(
        "03-clear-mixed-line-ends",
        "The same mail with CRLF and LF mixed, within the text and within the frame. Each line end counts for itself.",
        mixed,
        good("ed25519"),
        SHOWN,
    )
    blanks = plain(block).replace(b"affects postroom\r\n", b"affects postroom \t\r\n").replace(b"- -- \r\n", b"- --\r\n")
    yield Case(
        "04-clear-trailing-blanks",
        "On the way, blanks were added to one line and taken from another, the dashes above a name. They are not signed.",
        blanks,
        good("ed25519"),
        SHOWN,
    )
    dashes = b"-----BEGIN PGP SIGNED MESSAGE-----\n- a list\n-- \n--\n-x\nFrom here on\n"
    yield Case(
        "05-clear-dash-escapes",
        "Lines that begin with a dash, among them one that looks like the frame, are escaped. The signed text has them without escapes.",
        plain(home.clear(dashes, "ed25519")),
        good("ed25519"),
        "-----BEGIN PGP SIGNED MESSAGE-----\n- a list\n--\n--\n-x\nFrom here on",
    )
    umlauts = "Grüße aus Köln, und eine lange Zeile, die in quoted-printable umbrochen wird, weil sie mehr als 76 Zeichen hat\n".encode()
    encoded = "Content-Transfer-Encoding: quoted-printable"
    yield Case(
        "06-clear-quoted-printable",
        "A quoted-printable text with umlauts and a line that the encoding breaks. The range counts in the decoded text.",
        plain(quoted_printable(home.clear(umlauts + TEXT, "ed25519")), encoded),
        good("ed25519"),
        umlauts.decode() + SHOWN,
    )
    yield Case(
        "07-clear-base64",
        "A base64 text with unsigned lines before and behind the block, so that it begins anywhere. It is found all the same.",
        plain(in_base64(crlf(_BEFORE + block + _AFTER)), "Content-Transfer-Encoding: base64"),
        good("ed25519"),
        SHOWN,
    )
    yield Case(
        "08-clear-text-round-it",
        "Unsigned lines stand before and behind the block, a command among them. The signed text holds none of them.",
        plain(_BEFORE + block + _AFTER),
        good("ed25519"),
        SHOWN,
    )
    second = home.clear(b"status invalid\n", "other")
    yield Case(
        "09-clear-two-blocks",
        "Two signed blocks, each by another key. The first counts, and the second is text round it.",
        plain(block + b"\n" + second),
        good("ed25519"),
        SHOWN,
    )
    yield Case(
        "10-clear-two-signatures",
        "One text signed by two keys, of which we hold one. Both are judged, in their order.",
        plain(home.clear(TEXT, "stranger", "ed25519")),
        [Expected("unknown-key"), *good("ed25519")],
        SHOWN,
    )
    part = text_part(block)
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>status invalid</p>"
    yield Case(
        "11-clear-alternative",
        "The block is the text of a multipart/alternative whose HTML says something else. The range names the text part.",
        mail(multipart("alternative", part, html)),
        good("ed25519"),
        SHOWN,
        part="1",
    )
    image = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo="
    encoded_part = text_part(in_base64(crlf(block)), "Content-Transfer-Encoding: base64")
    yield Case(
        "12-clear-in-nested-part",
        "The block is the base64 text of an alternative within a multipart/mixed with an image. The range counts in part 1.1, decoded.",
        mail(multipart("mixed", multipart("alternative", encoded_part, html, boundary="=_inner"), image)),
        good("ed25519"),
        SHOWN,
        part="1.1",
    )
    yield Case(
        "13-clear-no-mime",
        "A mail of the old kind without any MIME field. Its body is text, and signed.",
        head().replace(b"MIME-Version: 1.0\r\n", b"") + crlf(block),
        good("ed25519"),
        SHOWN,
    )
    latin = "Grüße\n".encode("latin-1")
    yield Case(
        "14-clear-latin-1",
        "A text in ISO 8859-1, which cannot be UTF-8, so the header's charset is believed. The signature is over the bytes.",
        head("Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit") + crlf(home.clear(latin, "ed25519")),
        good("ed25519"),
        "Grüße",
    )
    empty = text_part(b"\n")
    yield Case(
        "15-clear-behind-an-empty-part",
        "A gateway put an empty text part before the signed one. Nothing unsigned is shown before it, so it counts.",
        mail(multipart("mixed", empty, part)),
        good("ed25519"),
        SHOWN,
        part="2",
    )
    yield Case(
        "16-clear-kept-blanks",
        "The signer hashed the blanks at the ends of lines, as some do against RFC 9580 section 7.2. The exact bytes are tried first.",
        plain(_with_kept_blanks(home)),
        good("ed25519"),
        "one\ntwo",
    )


def _with_kept_blanks(home: Home) -> bytes:
    armor = home.detached(b"one \r\ntwo\t", "ed25519", options=("--armor", "--textmode"))
    return b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\none \ntwo\t\n" + armor
