"""OpenPGP: is a mail signed, by which key, when, and which of its text is covered.

`verify` gives the facts; whose key it is, whether the signature is too old, and what weak algorithms are worth is decided by who asks.
`may_be_signed` is the cheap question before it, `signed_text` what handlers read after it, `Keyring` the public keys.

A mail's way through the files: find (where it is signed, on mime and clear), forms (the bytes to try), packets (what the signature
says of itself, on armor), verification (who is asked, and what follows), sequoia and gnupg (the engines), lifetime (what a key's
certificate says against it), text.
"""

from topology.openpgp.find import may_be_signed
from topology.openpgp.keyring import Keyring
from topology.openpgp.result import FAULTS, MAX_SIGNATURES, Engine, Form, Signature, SignedRange, Verdict, Verification
from topology.openpgp.sources import KeyringError, KeySource
from topology.openpgp.text import signed_text
from topology.openpgp.verification import as_of, verify

__all__ = [
    "FAULTS",
    "MAX_SIGNATURES",
    "Engine",
    "Form",
    "KeySource",
    "Keyring",
    "KeyringError",
    "Signature",
    "SignedRange",
    "Verdict",
    "Verification",
    "as_of",
    "may_be_signed",
    "signed_text",
    "verify",
]
