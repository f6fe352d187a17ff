"""Builds the mails of the cases by hand, so that every byte is meant."""

import base64
import quopri

TEXT = b"affects postroom\nstatus confirmed\n\n-- \nSample Person\n"
"""What the signers sign: two commands, and a line of dashes that signing must escape."""

SHOWN = "affects postroom\nstatus confirmed\n\n--\nSample Person"
"""The signed text of a clear-signed TEXT: the blank behind the dashes is not signed."""


def crlf(data: bytes) -> bytes:
    """With CRLF line ends throughout."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def head(*fields: str, subject: str = "Bug 42") -> bytes:
    """A header with those fields at its end, and the empty line behind it."""
    lines = [
        "Received: from mail.example.org (mail.example.org [192.0.2.1])",
        "\tby mx.example.com; Sat, 10 Jan 2026 12:05:00 +0000",
        "Message-ID: <42@example.org>",
        "Date: Sat, 10 Jan 2026 12:00:00 +0000",
        "From: Sample Person <test@example.org>",
        "To: 42@foo.com",
        f"Subject: {subject}",
        "MIME-Version: 1.0",
        *fields,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


PLAIN = "Content-Type: text/plain; charset=utf-8"


def plain(body: bytes, *fields: str) -> bytes:
    """A mail of one text part."""
    return head(PLAIN, *fields) + crlf(body)


def multipart(kind: str, *parts: bytes, boundary: str = "=_part", parameters: str = "") -> bytes:
    """A multipart entity, with its own Content-Type field, from whole parts (header and body)."""
    line = f'Content-Type: multipart/{kind}; boundary="{boundary}"{parameters}\r\n\r\n'.encode()
    delimiter = f"--{boundary}".encode()
    return line + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"


def mail(entity: bytes) -> bytes:
    """A mail of an entity that brings its own Content-Type field."""
    return head()[:-2] + entity


def text_part(text: bytes = TEXT, *fields: str) -> bytes:
    """A text part in CRLF, without a line end at its end."""
    lines = "".join(f"{field}\r\n" for field in (PLAIN, *fields)).encode()
    return lines + b"\r\n" + crlf(text).removesuffix(b"\r\n")


def quoted_printable(data: bytes) -> bytes:
    """As a mail program encodes text whose blanks must survive."""
    return quopri.encodestring(data.replace(b"\r\n", b"\n"))


def in_base64(data: bytes) -> bytes:
    """In lines of 76 characters."""
    return base64.encodebytes(data)


def signature_part(armor: bytes, *fields: str) -> bytes:
    """The second part of a multipart/signed."""
    lines = "".join(f"{field}\r\n" for field in ('Content-Type: application/pgp-signature; name="signature.asc"', *fields)).encode()
    return lines + b"\r\n" + crlf(armor).removesuffix(b"\r\n")


PROTOCOL = '; protocol="application/pgp-signature"'


def signed(part: bytes, armor: bytes, micalg: str = "pgp-sha512", **options: str) -> bytes:
    """A multipart/signed entity (RFC 3156 section 5). GnuPG's default hash is SHA-512 for most keys."""
    parameters = options.pop("parameters", PROTOCOL) + (f"; micalg={micalg}" if micalg else "")
    return multipart("signed", part, signature_part(armor), parameters=parameters, boundary=options.get("boundary", "=_signed"))
