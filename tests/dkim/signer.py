"""A DKIM signer and RFC 6376 3.4 written once more, line by line as the RFC words it: what the verifier is held against.

It shares no code with `topology.dkim`, and is as slow as it is plain.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

KEYS = Path(__file__).parent / "keys"
CRLF = b"\r\n"


@cache
def key(name: str) -> RSAPrivateKey | Ed25519PrivateKey:
    """A key of the folder `keys`; they are for tests and sign nothing else."""
    found = load_pem_private_key((KEYS / f"{name}.pem").read_bytes(), None)
    assert isinstance(found, RSAPrivateKey | Ed25519PrivateKey)
    return found


def record(name: str, **tags: str) -> str:
    """The key record of a key; tags: further ones, or others in place of its own (p, k)."""
    private = key(name)
    if isinstance(private, RSAPrivateKey):
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        own = {"k": "rsa", "p": base64.b64encode(public).decode()}
    else:
        own = {"k": "ed25519", "p": base64.b64encode(private.public_key().public_bytes_raw()).decode()}
    return "; ".join(f"{tag}={value}" for tag, value in ({"v": "DKIM1"} | tags | own | tags).items())


def crlf(raw: bytes) -> bytes:
    return re.sub(rb"(?<!\r)\n", CRLF, raw)


def parts(raw: bytes) -> tuple[list[bytes], bytes]:
    """The header fields, folds kept, last CRLF off; and the body."""
    fields: list[list[bytes]] = []
    lines = crlf(raw).split(CRLF)
    end = lines.index(b"") if b"" in lines else len(lines)
    for line in lines[:end]:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1].append(line)
        else:
            fields.append([line])
    return [CRLF.join(field) for field in fields], CRLF.join(lines[end + 1 :])


def name_of(field: bytes) -> bytes:
    return field.split(b":")[0].rstrip(b" \t").lower()


def canonical_field(field: bytes, form: str) -> bytes:
    if form == "simple":
        return field
    name, value = field.split(b":", 1)
    unfolded = b"".join(value.split(CRLF))
    return name.rstrip(b" \t").lower() + b":" + re.sub(rb"[ \t]+", b" ", unfolded).strip(b" ")


def canonical_body(body: bytes, form: str) -> bytes:
    lines = body.split(CRLF)
    if form == "relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line) for line in lines]
        lines = [line.removesuffix(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return CRLF if form == "simple" else b""
    return CRLF.join(lines) + CRLF


def chosen(fields: Sequence[bytes], names: Sequence[bytes]) -> list[bytes]:
    """The fields that h= selects: for each name the lowest not taken yet (5.4.2)."""
    left = list(fields)
    found = []
    for name in names:
        for place in range(len(left) - 1, -1, -1):
            if name_of(left[place]) == name.lower():
                found.append(left.pop(place))
                break
    return found


def signed_form(raw: bytes, own: bytes, names: Sequence[bytes], canonicalisation: str) -> tuple[bytes, bytes]:
    """(what b= is over, the canonical body), where `own` is the signature field without its b= value, and not in the mail."""
    header_form, _, body_form = canonicalisation.partition("/")
    fields, body = parts(raw)
    header = [canonical_field(field, header_form) for field in [*chosen(fields, names), own]]
    return CRLF.join(header), canonical_body(body, body_form or "simple")


def sign(
    raw: bytes,
    key_name: str = "rsa-1024",
    tags: Mapping[str, str | None] | None = None,
    hash_with: type[HashAlgorithm] = SHA256,
    name: str = "DKIM-Signature: ",
    order: Sequence[str] = (),
    glue: str = "; ",
    before_b: str = "",
    after_b: str = "",
) -> bytes:
    """The mail with a signature on top of it. tags: other values than the usual ones, None to leave a tag out; bh and b given
    here are used as they are. order: tags that come first. glue: what stands between tags. before_b, after_b: white space (or
    more) round the value of b=."""
    private = key(key_name)
    algorithm = "rsa-sha256" if isinstance(private, RSAPrivateKey) else "ed25519-sha256"
    usual: dict[str, str | None] = {
        "v": "1", "a": algorithm, "c": "relaxed/relaxed", "d": "example.org", "s": "sel", "t": "1717200000",
        "h": "from:to:subject:date:message-id",
    }  # fmt: skip
    given = usual | dict(tags or {})
    canonicalisation = given["c"] or "simple/simple"
    body = canonical_body(parts(raw)[1], canonicalisation.partition("/")[2] or "simple")
    if given.get("l"):
        body = body[: int(given["l"] or 0)]
    digest = hashlib.sha1 if hash_with is SHA1 else hashlib.sha256
    given.setdefault("bh", base64.b64encode(digest(body).digest()).decode())
    signature = given.pop("b", "")
    names = [*order, *(tag for tag in given if tag not in order)]
    written = glue.join(f"{tag}={given[tag]}" for tag in names if given.get(tag) is not None)
    if signature is None:
        return f"{name}{written}".encode() + CRLF + raw
    own = f"{name}{written}{glue}b=".encode()
    header_names = [one.strip().encode() for one in (given["h"] or "").split(":")]
    data, _ = signed_form(raw, own + after_b.lstrip(" \t\r\n").encode(), header_names, canonicalisation)
    if signature == "":
        signed = (
            private.sign(data, PKCS1v15(), hash_with())
            if isinstance(private, RSAPrivateKey)
            else private.sign(hashlib.sha256(data).digest())
        )
        signature = base64.b64encode(signed).decode()
    return own + f"{before_b}{signature}{after_b}".encode() + CRLF + raw
