"""PGP/MIME mails that hold (S2, S6)."""

from collections.abc import Iterator

from tests.openpgp.making.case import Case, Expected, good
from tests.openpgp.making.gnupg import Home
from tests.openpgp.making.mail import TEXT, in_base64, mail, multipart, quoted_printable, signature_part, signed, text_part

_SHOWN = TEXT.decode().removesuffix("\n")
"""In PGP/MIME the blank behind the dashes is signed, and the line end before the boundary is not."""

_FOOTER = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nA footer that a list put here: status invalid"


def cases(home: Home) -> Iterator[Case]:
    """All of them."""

    def case(name: str, shows: str, raw: bytes, text: str = _SHOWN, part: str = "1", signatures: list[Expected] | None = None) -> Case:
        return Case(name, shows, raw, signatures or good("ed25519"), text, form="mime", part=part)

    part = text_part()
    armor = home.detached(part, "ed25519")
    yield case(
        "20-mime",
        "A multipart/signed mail by an Ed25519 key, with CRLF as it was signed. The plainest of its kind.",
        mail(signed(part, armor)),
    )
    yield case(
        "21-mime-lf",
        "The same mail with LF throughout, as a pipe hands it over. The form that was signed has CRLF and is found second.",
        mail(signed(part, armor)).replace(b"\r\n", b"\n"),
    )
    yield case(
        "22-mime-mixed-line-ends",
        "The same mail with CRLF and LF mixed. Line ends are made CRLF, and nothing else is touched.",
        mail(signed(part, armor)).replace(b"affects postroom\r\n", b"affects postroom\n"),
    )
    folded = text_part(TEXT, 'Content-Disposition: inline;\r\n\tfilename="a text\r\n  with a folded header.txt"')
    yield case(
        "23-mime-folded-header",
        "The signed part's header has folded fields, which are signed as they stand. No parser may unfold them first.",
        mail(signed(folded, home.detached(folded, "ed25519"))),
    )
    blanks = text_part(b"trailing blanks \nare signed here\t\n")
    yield case(
        "24-mime-trailing-blanks",
        "Blanks at the ends of lines are signed in PGP/MIME and arrived unharmed. The signed text keeps them.",
        mail(signed(blanks, home.detached(blanks, "ed25519"))),
        "trailing blanks \nare signed here\t",
    )
    yield case(
        "25-mime-with-list-footer",
        "A list put the signed mail first into a multipart/mixed, with its footer behind it. The range names part 1.1, without the footer.",
        mail(multipart("mixed", signed(part, armor), _FOOTER)),
        part="1.1",
    )
    yield case(
        "26-mime-signed-with-lf",
        "The signer hashed LF, and SMTP made CRLF of it. The LF form is the third to be tried.",
        mail(signed(part, home.detached(part.replace(b"\r\n", b"\n"), "ed25519"))),
    )
    yield case(
        "27-mime-line-end-signed",
        "The signer hashed the line end before the boundary too, against RFC 3156 section 5. It changes nothing that is shown.",
        mail(signed(part, home.detached(part + b"\r\n", "ed25519"))),
    )
    yield case(
        "28-mime-two-signatures",
        "Two signatures in one block, the first by a key that we do not hold. Both are judged, in their order.",
        mail(signed(part, home.detached(part, "stranger", "ed25519"))),
        signatures=[Expected("unknown-key"), *good("ed25519")],
    )
    in_parts = mail(
        multipart("signed", part, _encoded_signature(armor), parameters='; protocol="application/pgp-signature"; micalg=pgp-sha512')
    )
    yield case("29-mime-base64-signature", "A gateway encoded the signature part in base64. It is decoded before it is read.", in_parts)
    encoded = text_part(in_base64(TEXT), "Content-Transfer-Encoding: base64")
    yield case(
        "30-mime-base64-text",
        "The signed part is base64, and the signature is over the encoded form. The signed text is the decoded one.",
        mail(signed(encoded, home.detached(encoded, "ed25519"))),
        TEXT.decode(),
    )
    quoted = text_part(quoted_printable("Grüße\n".encode() + TEXT), "Content-Transfer-Encoding: quoted-printable")
    yield case(
        "31-mime-quoted-printable-text",
        "The signed part is quoted-printable, as RFC 3156 section 3 recommends. The signed text is the decoded one.",
        mail(signed(quoted, home.detached(quoted, "ed25519"))),
        "Grüße\n" + _SHOWN,
    )
    yield case(
        "32-mime-text-signature",
        "The signature is one over text and not over bytes (RFC 9580 section 5.2.1). Only the CRLF form is tried for it.",
        mail(signed(part, home.detached(part, "ed25519", options=("--armor", "--textmode")))),
    )
    image = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo="
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>affects postroom</p>"
    whole = multipart("mixed", multipart("alternative", part, html, boundary="=_inner"), image, boundary="=_outer").removesuffix(b"\r\n")
    yield case(
        "33-mime-signed-multipart",
        "A whole multipart with HTML and an image is signed. The signed text is its first text part.",
        mail(signed(whole, home.detached(whole, "ed25519"))),
    )
    yield case(
        "34-mime-truncated-behind-the-signature",
        "The mail's last line, the close delimiter, is missing. Text and signature are whole, so it holds.",
        mail(signed(part, armor)).removesuffix(b"--=_signed--\r\n"),
    )
    yield case(
        "35-mime-without-micalg",
        "The multipart/signed names no micalg. The signature says itself how it was made.",
        mail(signed(part, armor, micalg="")),
    )


def _encoded_signature(armor: bytes) -> bytes:
    return signature_part(in_base64(armor), "Content-Transfer-Encoding: base64")
