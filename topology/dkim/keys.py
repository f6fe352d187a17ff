"""Key records (RFC 6376 3.6.1, RFC 8301, RFC 8463): parsed once, then used for every signature by that key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from topology.dkim import tags
from topology.dkim.words import Flaw

MIN_RSA_BITS = 1024  # RFC 8301 3.2: shorter ones must not be considered valid
MAX_RSA_BITS = 8192  # the RFC asks for 4,096; the writer of a mail chooses the key, and must not choose how long we compute
MAX_EXPONENT_BITS = 64  # likewise: with an exponent of 3,070 bits one signature takes 5 ms, a hundred times as long; honest ones have 17
_PKCS1, _SHA256 = PKCS1v15(), SHA256()
_VERSION_IS_LATE = re.compile(r";\s*v\s*=")


@dataclass(frozen=True, slots=True)
class Key:
    """One TXT record, read as a key. text: the record. kind: rsa, ed25519, another word, or "" when it is no key record at all.
    testing, strict: its flags t=y and t=s. flaw: why it can verify nothing; without one there is a public key."""

    text: str
    kind: str
    public: RSAPublicKey | Ed25519PublicKey | None = None
    testing: bool = False
    strict: bool = False
    flaw: Flaw | None = None

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this is a signature by the key over the SHA-256 hash of the data."""
        try:
            if isinstance(self.public, RSAPublicKey):
                self.public.verify(signature, data, _PKCS1, _SHA256)
            elif self.public:
                self.public.verify(signature, sha256(data).digest())  # RFC 8463 3: Ed25519 signs the hash, not the data
        except InvalidSignature:
            return False
        return self.public is not None


def choose(texts: Sequence[str], kind: str) -> Key:
    """The key for a signature of that kind, out of the records at its name. It has a flaw when none will do.

    RFC 6376 3.6.2.2 leaves the result undefined where a name has several key records. Records that are no keys, and keys of
    another kind, are left out here; what is left must be one, or the signature is a permerror.
    """
    keys = [parse(text) for text in texts]
    fitting = [key for key in keys if key.kind == kind]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        return Key("", kind, flaw=Flaw("permerror", f"{len(fitting)} {kind} keys stand at the name, so which is meant is undefined"))
    if len(keys) == 1 and keys[0].flaw:
        return keys[0]
    return Key(keys[0].text, kind, flaw=Flaw("permerror", f"no {kind} key stands at the name"))


@lru_cache(maxsize=4096)
def parse(text: str) -> Key:
    """The record as a key. Pure, so that a key which signs many mails is parsed once."""
    try:
        fields = tags.parse(text.encode())
    except tags.TagError as error:
        return Key(text, "", flaw=Flaw("permerror", f"the key record is malformed: {error}"))
    if fields.get("v", "DKIM1") != "DKIM1" or _VERSION_IS_LATE.search(text):
        return Key(text, "", flaw=Flaw("permerror", "the key record does not begin with v=DKIM1"))
    if "p" not in fields:
        return Key(text, "", flaw=Flaw("permerror", "the key record has no p="))
    kind, flags = fields.get("k", "rsa"), _words(fields.get("t", ""))
    public = _public(kind, fields)
    if isinstance(public, Flaw):
        return Key(text, kind, None, "y" in flags, "s" in flags, public)
    return Key(text, kind, public, "y" in flags, "s" in flags)


def _words(value: str) -> list[str]:
    return [word.strip(tags.FWS) for word in value.split(":")]


def _public(kind: str, fields: dict[str, str]) -> RSAPublicKey | Ed25519PublicKey | Flaw:
    if not fields["p"]:
        return Flaw("permerror", "the key is revoked (p= is empty)")
    if "h" in fields and "sha256" not in _words(fields["h"]):
        return Flaw("permerror", f"the key is for other hashes than SHA-256 (h={fields['h']})")
    if not {"*", "email"}.intersection(_words(fields.get("s", "*"))):
        return Flaw("permerror", f"the key is not for mail (s={fields['s']})")
    try:
        if kind == "rsa":
            return _rsa(tags.base64(fields["p"]))
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(tags.base64(fields["p"]))
    except (ValueError, UnsupportedAlgorithm):
        return Flaw("permerror", f"the key record is malformed: p= is no {kind} key")
    return Flaw("permerror", f"the key is of an unknown kind (k={kind})")


def _rsa(der: bytes) -> RSAPublicKey | Flaw:
    # RFC 6376 says RSAPublicKey, its errata and all the world SubjectPublicKeyInfo: the library reads either.
    public = load_der_public_key(der)
    if not isinstance(public, RSAPublicKey):
        return Flaw("permerror", "the key record is malformed: p= holds a key of another kind than rsa")
    if public.key_size < MIN_RSA_BITS:
        return Flaw("policy", f"the key has {public.key_size} bits, and fewer than {MIN_RSA_BITS} do not count")
    if public.key_size > MAX_RSA_BITS:
        return Flaw("policy", f"the key has {public.key_size} bits, more than {MAX_RSA_BITS}")
    if (bits := public.public_numbers().e.bit_length()) > MAX_EXPONENT_BITS:
        return Flaw("policy", f"the key's exponent has {bits} bits, more than {MAX_EXPONENT_BITS}")
    return public
