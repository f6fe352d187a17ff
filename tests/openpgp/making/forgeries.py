"""Mails whose signature does not hold, or is not over what a reader sees (S4, A17)."""

from collections.abc import Iterator

from tests.openpgp.making import byhand
from tests.openpgp.making.case import Case, Expected, flaw, good, one
from tests.openpgp.making.gnupg import Home
from tests.openpgp.making.mail import PROTOCOL, SHOWN, TEXT, crlf, head, mail, multipart, plain, signature_part, signed, text_part

_EVIL = b"Content-Type: text/plain\r\n\r\nstatus invalid"


def cases(home: Home) -> Iterator[Case]:
    """All of them."""
    block = home.clear(TEXT, "ed25519")
    part = text_part()
    armor = home.detached(part, "ed25519")
    yield from _damaged(block, part, armor)
    yield from _clear(block)
    yield from _structure(block, part, armor)
    yield from _headers(block, part, armor)


def _damaged(block: bytes, part: bytes, armor: bytes) -> Iterator[Case]:
    def mime(name: str, shows: str, raw: bytes, expected: list[Expected]) -> Case:
        return Case(name, shows, raw, expected, form="mime")

    yield Case(
        "70-clear-changed",
        "One word of the signed text was changed. Whoever did it has not the key.",
        plain(block.replace(b"confirmed", b"invalid")),
        one("bad", "ed25519"),
    )
    yield mime(
        "71-mime-changed",
        "One word of the signed part was changed. Whoever did it has not the key.",
        mail(signed(part.replace(b"confirmed", b"invalid"), armor)),
        one("bad", "ed25519"),
    )
    yield mime(
        "72-mime-blank-lost",
        "A program on the way took the blank behind the dashes. It was signed, so this is bad.",
        mail(signed(part.replace(b"-- \r\n", b"--\r\n"), armor)),
        one("bad", "ed25519"),
    )
    yield mime(
        "73-mime-header-unfolded",
        "The signed part's header was rewritten. It is signed as much as the text.",
        mail(signed(part.replace(b"; charset", b";\r\n charset"), armor)),
        one("bad", "ed25519"),
    )
    lines = block.split(b"\n")
    yield Case(
        "74-clear-damaged-armor",
        "A character of the signature block is none of base64. It cannot be read.",
        plain(block.replace(lines[-4], b"!" + lines[-4][1:])),
        flaw("damaged"),
    )
    yield Case(
        "75-clear-cut-off",
        "The mail ends within the signature block. Half a signature is none.",
        plain(block[: block.rindex(b"\n-----END")]),
        flaw("damaged"),
    )
    yield mime(
        "76-mime-without-block",
        "The signature part holds words instead of a signature. Its type says that there should be one.",
        mail(signed(part, b"see attachment\n")),
        flaw("damaged"),
    )
    yield Case(
        "77-clear-other-text",
        "A good signature block under a text that it never was over. Blocks can be moved; hashes cannot.",
        plain(_under_other_text(block)),
        one("bad", "ed25519"),
    )
    yield mime(
        "78-certification",
        "The self-signature from a public key, put under a mail. It certifies a name, and is not over a document.",
        mail(signed(part, byhand.armor(byhand.certification("ed25519")), micalg="")),
        one("damaged", created_at=None),
    )


def _under_other_text(block: bytes) -> bytes:
    return b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nstatus invalid\n" + block[block.index(b"-----BEGIN PGP SIGNATURE") :]


def _clear(block: bytes) -> Iterator[Case]:
    """Tricks with the cleartext frame. What stands in it is not signed, and some programs show it."""
    shows = "%s RFC 9580 section 7 lets nothing but well-formed Hash lines stand there."
    for number, name, trick, words in (
        (
            80,
            "hash-injection",
            b"Hash: SHA512\x0b\x0bstatus invalid",
            "Text hides behind a vertical tab in the Hash line (CVE-2019-11841).",
        ),
        (81, "text-in-frame", b"Hash: SHA512\nstatus invalid", "A line of text stands under the Hash line, before the empty line."),
        (82, "other-armor-header", b"Comment: status invalid\nHash: SHA512", "A Comment line stands where only Hash may."),
        (
            83,
            "not-dash-escaped",
            b"NotDashEscaped: You need GnuPG to verify this\nHash: SHA512",
            "GnuPG's own NotDashEscaped changes what is signed.",
        ),
    ):
        yield Case(f"{number}-{name}", shows % words, plain(block.replace(b"Hash: SHA512", trick)), flaw("damaged"))
    nested = block.replace(b"affects", b"-----BEGIN PGP SIGNED MESSAGE-----\n\nstatus invalid\naffects")
    yield Case(
        "84-frame-within-text",
        "The BEGIN line stands again within the text, without its dash escape. Some programs begin there.",
        plain(nested),
        flaw("damaged"),
    )
    bare = plain(block).replace(b"postroom\r\nstatus", b"postroom\rstatus")
    yield Case(
        "85-bare-cr", "A line end became a bare CR. To Sequoia it is one still, to a reader of lines it is none.", bare, flaw("damaged")
    )
    quoted = crlf(b"> " + block.replace(b"\n", b"\n> "))
    yield Case(
        "86-quoted",
        "An answer that quotes a signed mail. What is quoted is somebody else's, and the mail counts as unsigned.",
        plain(quoted),
        [],
    )
    charset = head("Content-Type: text/plain; charset=utf-16") + crlf(block)
    yield Case(
        "87-charset",
        "The header, which nobody signed, says UTF-16. The signed bytes are still the text that was signed.",
        charset,
        good("ed25519"),
        SHOWN,
    )
    message = b"-----BEGIN PGP MESSAGE-----\n\nowEBUgCt/5ANAwAIAQ==\n=aaaa\n-----END PGP MESSAGE-----\n"
    yield Case(
        "88-signed-message",
        "A signed message in OpenPGP's binary form, as often compressed. It is out of scope: nothing is decompressed.",
        plain(message),
        [],
    )


def _structure(block: bytes, part: bytes, armor: bytes) -> Iterator[Case]:
    """Tricks with the parts of a mail."""

    def mime(name: str, shows: str, entity: bytes, verdict: str) -> Case:
        return Case(name, shows, mail(entity), flaw(verdict), form="mime")

    whole = signed(part, armor)
    yield mime(
        "90-behind-unsigned",
        "An unsigned text part stands before the signed one, and is what a reader sees first. The mail counts as unsigned.",
        multipart("mixed", _EVIL, whole),
        "not-first",
    )
    yield Case(
        "91-clear-behind-unsigned",
        "The same with a clear-signed text in the second part. Again a reader sees the unsigned one first.",
        mail(multipart("mixed", _EVIL, text_part(block))),
        flaw("not-first"),
    )
    attached = b"Content-Type: message/rfc822\r\n\r\n" + mail(whole)
    yield Case(
        "92-attached",
        "A signed mail is attached to an unsigned one (A17). Only the outer mail counts, and it is not signed.",
        mail(multipart("mixed", _EVIL, attached)),
        [],
    )
    yield Case("93-attached-alone", "A signed mail is all that the outer one holds. It is attached all the same.", mail(attached), [])
    other = '; protocol="application/pkcs7-signature"'
    yield mime(
        "94-other-protocol",
        "The protocol says S/MIME, and the second part is OpenPGP's. Programs go by one or the other.",
        signed(part, armor, parameters=other),
        "ambiguous",
    )
    hollow = b'Content-Type: multipart/mixed; boundary="=_none"\r\n\r\nstatus invalid'
    shows = "A multipart without parts stands before the signed one. Some programs show the text in it, so it counts as one."
    yield mime("99-behind-hollow-multipart", shows, multipart("mixed", hollow, whole), "not-first")
    no_type = multipart("signed", part, b"Content-Type: text/plain\r\n\r\n" + armor, parameters=PROTOCOL)
    yield mime(
        "95-other-signature-part",
        "The protocol says OpenPGP, and the second part is plain text. Programs go by one or the other.",
        no_type,
        "ambiguous",
    )
    three = multipart("signed", part, signature_part(armor), _EVIL, parameters=PROTOCOL + "; micalg=pgp-sha512")
    yield mime(
        "96-third-part", "A third part stands in the multipart/signed. Some programs show it as if it were signed.", three, "ambiguous"
    )
    yield mime(
        "97-micalg",
        "The micalg says SHA-1, and the signature is SHA-512. RFC 3156 section 5 wants them equal.",
        signed(part, armor, micalg="pgp-sha1"),
        "ambiguous",
    )
    smime = multipart("signed", part, b"Content-Type: application/pkcs7-signature\r\n\r\nMIIB", parameters=other)
    yield Case(
        "98-smime",
        "An S/MIME mail whose text mentions BEGIN PGP SIGNATURE. It is not OpenPGP's to judge.",
        mail(smime.replace(b"affects", b"see BEGIN PGP SIGNATURE, affects")),
        [],
    )


def _headers(block: bytes, part: bytes, armor: bytes) -> Iterator[Case]:
    """Tricks with header fields: two programs read two things, so nobody knows what was shown."""
    whole = mail(signed(part, armor))
    two_types = b"Content-Type: text/plain\r\n" + whole

    def case(number: int, name: str, shows: str, raw: bytes) -> Case:
        return Case(f"{number}-{name}", shows, raw, flaw("ambiguous"), form="mime")

    yield case(100, "two-content-types", "The mail has two Content-Type fields. Programs take the first or the last.", two_types)
    boundary = b'boundary="=_signed"'
    yield case(
        101,
        "two-boundaries",
        "The Content-Type names two boundaries. Programs take the first or the last.",
        whole.replace(boundary, boundary + b'; boundary="=_other"'),
    )
    yield case(
        102,
        "continued-boundary",
        "A second boundary hides in RFC 2231's form. Programs that know it take it.",
        whole.replace(boundary, boundary + b'; boundary*0="=_ot"; boundary*1="her"'),
    )
    yield case(
        103,
        "blank-before-colon",
        "A Content-Type field with a blank before its colon, obsolete since RFC 2822. Some see it and some do not.",
        b"Content-Type : text/plain\r\n" + whole,
    )
    yield case(
        104,
        "junk-in-header",
        "A line in the header is no field. To some programs the header ends there.",
        b"Subject: x\r\nno field\r\n" + whole,
    )
    yield case(
        105,
        "bare-cr-in-header",
        "A bare CR hides a field in another one. Some programs take it for a line end.",
        b"X-Hidden: x\rContent-Type: text/plain\r\n" + whole,
    )
    longer = whole.replace(b"affects", b"--=_signed2\r\naffects")
    yield case(
        106, "boundary-lookalike", "A line of the signed part begins as the boundary and goes on. Some programs split there.", longer
    )
    yield case(
        107,
        "boundary-behind-bare-cr",
        "A boundary stands behind a bare CR. Programs to which that is a line end split there.",
        whole.replace(b"\r\n--=_signed\r\n", b"\r\nx\r--=_signed\r\n\r\n--=_signed\r\n", 1),
    )
    comment = whole.replace(b"multipart/signed;", b"multipart/signed (a comment);")
    yield case(
        108, "comment-in-type", "A comment stands in the Content-Type. The grammar allows it, and many programs do not know.", comment
    )
    deep = multipart("signed", part, signature_part(armor), parameters=PROTOCOL)
    for level in range(30):
        deep = multipart("mixed", deep, boundary=f"=_{level}")
    yield case(
        109, "deep", "The signed part lies thirty levels deep. Nobody nests so, and some programs stop earlier than others.", mail(deep)
    )
    blanks = whole.replace(b"MIME-Version", b" \r\nMIME-Version")
    yield case(110, "line-of-blanks", "A line of blanks stands in the header. To some programs the header ends there.", blanks)
    encoded = whole.replace(b"MIME-Version: 1.0", b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64")
    yield case(
        111,
        "encoded-multipart",
        "A multipart says that it is base64, which RFC 2045 forbids. Some programs decode it and some do not.",
        encoded,
    )
    yield Case(
        "112-clear-two-types",
        "The same with a clear-signed text: one of two Content-Types is HTML. The mail counts as unsigned.",
        b"Content-Type: text/html\r\n" + plain(block),
        flaw("ambiguous"),
        form="mime",
    )
