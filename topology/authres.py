"""Authentication-Results (RFC 8601): what our own mail server found out about the sender, if it says so in the one field that it adds.

Anybody can write such a field, and write ours into a comment or a quoted string of theirs. So: only the field that carries our
authserv-id counts, and only when it is alone; what is not exactly of the form below counts as absent; each word belongs to the
clause that it stands in; and where two clauses differ about one signer, the fail counts.

The parser is our own because the `authres` package is no border against hostile fields: it takes 770 µs for an ordinary field
(this: 40 µs), a second for 96 KB of it, ends in RecursionError on nested comments, and passes over faults within a clause in
silence. The tests hold it as a witness on well-formed fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from topology.alignment import below, domain_name

MAX_FIELD = 16_384  # bytes; a longer one is malformed
MAX_CLAUSES = 50
_EVIDENCE = 1024  # a field is kept up to here

_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_PIECE = re.compile(rf'(?P<text>{_QUOTED}|[^"()\\;]+)|(?P<comment>\()|;', re.DOTALL)
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
_SERVER = re.compile(rf'\s*({_QUOTED}|[^\s"=]+)(?:\s+([0-9]+))?\s*', re.DOTALL)
# key = value, where the key is a method with its version, a word, or ptype.property; white space ends an unquoted value.
_ITEM = re.compile(
    rf'\s*([a-z0-9_-]+(?:\s*\.\s*[a-z0-9_-]+)*)(?:\s*/\s*([0-9]+))?\s*=\s*((?:{_QUOTED})?[^\s"]*)(?=\s|$)', re.IGNORECASE | re.DOTALL
)
_NAME = re.compile(rb"[ \t\r\n]*([^ \t\r\n;]+)")
_RESULT = re.compile(r"[a-z]{1,20}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LEGAL = bytes([9, 10, 13, *range(0x20, 0x7F), *range(0x80, 0x100)])


# The header as every program reads it: a mailbox's "From " line at most on top, names without blanks, folds with something on them.
_SOUND = re.compile(rb"(?:From [^\r\n]*\r?\n)?(?:[!-9;-~]++:[^\r\n]*+(?:\r?\n[ \t]++[^\s][^\r\n]*+)*+(?:\r?\n|\Z))*+(?:\r?\n)?")


@dataclass(frozen=True, slots=True)
class Claim:
    """One clause about DKIM or DMARC. domain: the signer (header.d, else the domain of header.i), or header.from's domain, in
    A-labels; None when it cannot be told for certain, and then the claim proves nothing."""

    method: str
    result: str
    domain: str | None


@dataclass(frozen=True, slots=True)
class ResultsVerdict:
    """What the trusted field says, as evidence (plain JSON types).

    field: its value, cut at 1 KiB; None when none counts. claims: its dkim and dmarc clauses. signers: domains with dkim=pass
    and no dkim=fail. author: the domain of header.from with dmarc=pass, where no clause says otherwise. reason: why nothing counts.
    """

    field: str | None = None
    claims: tuple[Claim, ...] = ()
    signers: tuple[str, ...] = ()
    author: str | None = None
    reason: str = ""

    def evidence(self) -> dict[str, Any]:
        """The same as plain JSON values, for the facts."""
        return asdict(self) | {"claims": [asdict(claim) for claim in self.claims], "signers": list(self.signers)}


class _MalformedError(ValueError):
    pass


def sound(header: bytes) -> bool:
    """Whether our mail server has seen the same fields in this header block (the empty line behind it may be there) as we do.

    It takes forged fields with its own name out, and where two programs differ on what is a field (a bare CR, a blank before the
    colon, a line that is none), one that it did not see could be left. Linear."""
    return _SOUND.fullmatch(header) is not None


def judge(fields: Sequence[bytes], authserv_id: str) -> ResultsVerdict:
    """What the mail's Authentication-Results fields are worth, where only the server of that id is believed ("": none is).

    fields: their values in the order of the header, folded or not. Linear in their length; raises nothing."""
    if not authserv_id:
        return ResultsVerdict(reason="no authserv_id is set")
    wanted = authserv_id.lower()
    read = ((field, *_read(field)) for field in fields if _may_be_by(wanted, field))
    ours = [(field, claims) for field, server, claims in read if server == wanted]
    if len(ours) != 1:
        reason = f"{len(ours)} fields by {authserv_id}, of which at most one can be true" if ours else f"no field by {authserv_id}"
        return ResultsVerdict(reason=reason)
    field, claims = ours[0]
    kept = field.decode("utf-8", "backslashreplace").strip()[:_EVIDENCE]
    # Our server writes its name as it is set, and takes out the fields of others that begin so. In quotes, behind a comment, or with a
    # blank or letter that only looks like one of it, it would not have found it; still, such a field is one more under our id.
    plain = _NAME.match(field)
    if claims is None or not plain or plain[1].lower() != wanted.encode():
        return ResultsVerdict(kept, reason=f"the field by {authserv_id} is malformed")
    return ResultsVerdict(kept, tuple(claims), _signers(claims), _author(claims))


def _may_be_by(server: str, field: bytes) -> bool:
    """Whether the field can be that server's, at little cost, as most are others'. A quoted id may be escaped."""
    start = field[:MAX_FIELD].lower()
    return server.encode() in start or b"\\" in start


def _signers(claims: Sequence[Claim]) -> tuple[str, ...]:
    passed = dict.fromkeys(claim.domain for claim in claims if claim.method == "dkim" and claim.result == "pass")
    failed = {claim.domain for claim in claims if claim.method == "dkim" and claim.result in {"fail", "hardfail"}}
    return tuple(domain for domain in passed if domain and domain not in failed)


def _author(claims: Sequence[Claim]) -> str | None:
    said = {(claim.result, claim.domain) for claim in claims if claim.method == "dmarc"}
    result, domain = said.pop() if len(said) == 1 else ("", None)
    return domain if result == "pass" else None


def _read(field: bytes) -> tuple[str, list[Claim] | None]:
    """The field's authserv-id in lower case ("" when there is none), and its claims; None when it is malformed behind the id."""
    text = field[:MAX_FIELD].decode("utf-8", "backslashreplace")
    clauses = _clauses(text)
    try:
        server = _server(next(clauses))
    except _MalformedError:
        return "", None
    try:
        claims = [_claim(clause) for clause in clauses if clause.strip()]
    except _MalformedError:
        return server, None
    whole = len(field) <= MAX_FIELD and len(claims) <= MAX_CLAUSES and not field.translate(None, _LEGAL)
    return server, [claim for claim in claims if claim] if whole else None


def _clauses(text: str) -> Iterator[str]:
    """The parts between semicolons, with a blank for each comment. Raises _MalformedError where a quote or comment has no end."""
    clause, place = "", 0
    while place < len(text):
        piece = _PIECE.match(text, place)
        if not piece:
            raise _MalformedError
        place = piece.end()
        if piece["comment"]:
            clause, place = clause + " ", _comment_end(text, place)
        elif piece["text"]:
            clause += piece["text"]
        else:
            yield clause
            clause = ""
    yield clause


def _comment_end(text: str, place: int) -> int:
    """The place behind the comment in which `place` lies. Comments may stand in comments (RFC 5322 3.2.2)."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(text, place):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if not depth:
            return mark.end()
    raise _MalformedError


def _server(clause: str) -> str:
    """The authserv-id in lower case."""
    found = _SERVER.fullmatch(clause)
    if not found or found[2] not in {None, "1"}:
        raise _MalformedError
    return _plain(found[1]).lower()


def _claim(clause: str) -> Claim | None:
    """The claim that a clause makes; None when it is about something else than DKIM and DMARC, or is `none`."""
    if clause.strip().lower() == "none":
        return None
    method, version, result, place = _item(clause, 0)
    if not _RESULT.fullmatch(result.lower()):
        raise _MalformedError
    said: dict[str, set[str]] = {}
    while clause[place:].strip():
        key, _, value, place = _item(clause, place)
        if key in {"dkim", "dmarc", method}:
            raise _MalformedError  # two results in one clause
        said.setdefault(key, set()).add(value)
    if method not in {"dkim", "dmarc"} or version not in {None, "1"}:
        return None
    domain = _signer(said) if method == "dkim" else _domain(said, "header.from")
    return Claim(method, result.lower(), domain)


def _item(clause: str, place: int) -> tuple[str, str | None, str, int]:
    found = _ITEM.match(clause, place)
    if not found:
        raise _MalformedError
    return "".join(found[1].split()).lower(), found[2], _plain(found[3]), found.end()


def _plain(value: str) -> str:
    return _ESCAPE.sub(r"\1", value[1:-1]) if len(value) > 1 and value[0] == value[-1] == '"' else value


def _domain(said: Mapping[str, set[str]], key: str) -> str | None:
    values = said.get(key, set())
    return domain_name(next(iter(values)).rpartition("@")[2]) if len(values) == 1 else None


def _signer(said: Mapping[str, set[str]]) -> str | None:
    """header.d, or the domain of header.i where only that stands; None when they contradict each other (RFC 6376 3.5, i=)."""
    if "header.i" not in said:
        return _domain(said, "header.d")
    identity = _domain(said, "header.i")
    if "header.d" not in said:
        return identity
    domain = _domain(said, "header.d")
    return domain if domain and identity and below(identity, domain) else None
