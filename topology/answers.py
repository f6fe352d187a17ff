"""What DNS said about a name: the answer that a verdict rests on, kept as evidence so that a replay can judge by it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# A verdict on something too large for a fact could not be given again from the fact, so such an answer is refused. The key
# record of an RSA key of 8,192 bits has 1,400 characters.
MAX_TEXT = 2048
MAX_TEXTS = 8

Evidence = str | list[str] | None
"""An answer as JSON. As in a zone file: a text, a list of texts, "TEMPERROR" or "PERMERROR", and after either, when it is known,
": " and what went wrong; None when the name does not exist. In a list each item is a text, whatever it says."""
_ERRORS = {"TEMPERROR": "DNS gave a temporary error", "PERMERROR": "DNS gave a permanent error"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The TXT records of one name.

    status: `found`; `none` (the name, or a TXT record there, does not exist); `temperror` (no server could tell, asking later
    may help); `permerror` (the answer is of no use and will stay so).
    texts: each record's strings joined without blanks (RFC 7208 3.3), bytes that are not UTF-8 as \\xNN. ttl: seconds for which
    it may be kept. why: what went wrong, in words, for the two errors.
    """

    status: Literal["found", "none", "temperror", "permerror"]
    texts: tuple[str, ...] = ()
    ttl: int = 0
    why: str = ""

    @classmethod
    def of(cls, texts: Iterable[str | bytes], ttl: int = 0) -> Answer:
        """The answer that consists of these records, in a fixed order, because DNS has none. No texts: `none`. More than a
        fact can keep (MAX_TEXTS records, MAX_TEXT characters): `permerror`."""
        read = sorted(text if isinstance(text, str) else text.decode("utf-8", "backslashreplace") for text in texts)
        if not read:
            return cls("none", ttl=ttl)
        if len(read) > MAX_TEXTS or sum(map(len, read)) > MAX_TEXT:
            return cls(
                "permerror", ttl=ttl, why=f"{len(read)} TXT records there, of more than {MAX_TEXT} characters or {MAX_TEXTS} records in all"
            )
        return cls("found", tuple(read), ttl)

    def evidence(self) -> Evidence:
        """This answer as a value for JSON; `from_evidence` gives the same verdicts again."""
        if self.status == "none":
            return None
        if self.status != "found":
            return f"{self.status.upper()}: {self.why}"
        return list(self.texts) if len(self.texts) > 1 or self.texts[0].startswith(tuple(_ERRORS)) else self.texts[0]

    @classmethod
    def from_evidence(cls, value: Evidence, ttl: int = 0) -> Answer:
        """The answer that `evidence` gave, or that a value of a zone file stands for."""
        if value is None:
            return cls("none", ttl=ttl)
        if isinstance(value, list):
            return cls.of(value, ttl)
        word, _, why = value.partition(": ")
        if word in _ERRORS:
            return cls("temperror" if word == "TEMPERROR" else "permerror", ttl=ttl, why=why or _ERRORS[word])
        return cls.of((value,), ttl)
