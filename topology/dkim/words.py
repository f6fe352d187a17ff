"""The words in which a signature is judged."""

from __future__ import annotations

from typing import Literal, NamedTuple

Result = Literal["pass", "fail", "policy", "neutral", "temperror", "permerror"]
"""RFC 8601 2.7.1. pass: verified, and nothing speaks against it. fail: what was signed has been changed. policy: it may well
verify, but it is of a sort that we do not accept. neutral: the key is only being tested. temperror: DNS could not tell.
permerror: it can never be verified (syntax, no such key, a revoked one)."""


class Flaw(NamedTuple):
    """Why a signature does not pass: the result, and the reason in words."""

    result: Result
    reason: str
