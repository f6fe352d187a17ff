"""Mail addresses: reading them out of hostile headers, and the one way in which they are compared.

Two results matter to security, so the grammar is strict where mail programs differ: what breaks it is left out rather than
guessed at (RFC 5322 section 3.4, RFC 6531 section 3.3; obsolete routes are refused).
"""

import re
from typing import NamedTuple

import idna

from topology.remembered import remembered

_TOKEN = re.compile(
    r"""(?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<literal>\[[^\[\]\\\s]*\])
      | (?P<special>[<>,;:@.()])
      | (?P<space>[ \t\r\n]+)
      | (?P<blank>\s)
      | (?P<atom>[^\s"\[\]<>,;:@.()\\\x00-\x1f\x7f]+)
      | (?P<junk>\\[^,;]|.)""",
    re.VERBOSE | re.DOTALL,
)
_LIKE_AN_ADDRESS = re.compile("[@<>]")
_IN_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_SIMPLE = re.compile(
    r"[^<>@,;:()\"\[\]\\]*<([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+)>[ \t\r\n]*"
    r"|[ \t\r\n]*([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+)[ \t\r\n]*"
)
_ATOM_ASCII = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+\Z")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_LITERAL = re.compile(r"\[[0-9A-Za-z.:]{1,64}\]\Z")
_NULL_PATH = re.compile(r"<\s*>")
_COMMENT = re.compile(r"\([^()]*\)")
_MAX_ADDRESS = 320
"""Octets: 64 of local part, the @, 255 of domain (RFC 5321 section 4.5.3.1)."""
_MAX_TOKENS = 2_000
"""Words, blanks and marks of one element of an address list, its display name included."""
_MAX_ELEMENTS = 20_000
"""Elements of one field; of those that are handled here a mail may name far fewer (`topology.facts.MAX_RECIPIENTS`)."""


class Address(NamedTuple):
    """An address as written, and as compared. local keeps its case and, where it needs them, its quotes; domain is as
    written; key is the form in which addresses are compared everywhere: local part without case, domain in IDNA A-labels
    without case."""

    local: str
    domain: str
    key: str

    @property
    def key_domain(self) -> str:
        """The domain of `key`."""
        return self.key.rpartition("@")[2]


def domain_key(domain: str) -> str | None:
    """The domain as compared (IDNA A-label form, lower case, RFC 5890), or None when it is none. A trailing dot is dropped."""
    low = domain.lower().removesuffix(".")
    if not low.isascii():
        try:
            low = idna.encode(low, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    if len(low) > 255 or not low:
        return None
    if low[0] == "[":
        return low if _LITERAL.match(low) else None
    return low if all(_LABEL.match(label) for label in low.split(".")) else None


@remembered(2 * _MAX_ADDRESS)
def parse(text: str) -> Address | None:
    """One address: `local@domain`, also with a display name and angle brackets; None when it is not exactly one readable
    address. The empty string and `<>` are not addresses (see `envelope_key` for the null sender)."""
    found, broken = parse_list(text)
    return found[0] if len(found) == 1 and not broken else None


def key(text: str) -> str | None:
    """The address as compared, or None where it cannot be read."""
    address = parse(text)
    return address.key if address else None


Listed = tuple[tuple[Address, ...], bool]
"""The readable addresses of a header field, and whether anything in it could not be read."""


@remembered(2 * _MAX_ADDRESS, 8192)
def parse_list(text: str) -> Listed:
    """The readable addresses of a header field's value (unfolded or not), groups opened, in order; and whether anything in it
    could not be read. Linear in the length of the text; never raises."""
    if simple := _SIMPLE.fullmatch(text):
        address = _from_simple(simple[1] or simple[2])
        return ((address,), False) if address else ((), True)
    found: list[Address] = []
    broken = False
    for element in _elements(text):
        if not element:
            continue
        address = _mailbox(element)
        if address is None:
            broken = True
        else:
            found.append(address)
    return tuple(found), broken


class _Token(NamedTuple):
    kind: str
    text: str


def _elements(text: str) -> list[list[_Token]]:
    """The text split at the commas and group marks outside angle brackets, comments removed; a list of tokens each. Behind an element
    that is too long, or too many of them, the rest counts as unreadable: a header of 1 MiB would otherwise take seconds."""
    elements: list[list[_Token]] = [[]]
    angle = False
    at = 0
    while at < len(text):
        if len(elements[-1]) > _MAX_TOKENS or len(elements) > _MAX_ELEMENTS:
            elements[-1] = [_UNREADABLE]
            return elements
        match = _TOKEN.match(text, at)
        assert match
        at = match.end()
        token = _Token(match.lastgroup or "junk", match.group())
        mark = token.text if token.kind == "special" else ""
        if mark == "(":
            at = _comment_end(text, at)
            elements[-1].append(_Token("space", " ") if at else _UNREADABLE)
            at = at or len(text)
        elif mark in (",", ";") and not angle:
            elements.append([])
        elif mark == ":" and not angle:
            # What stands before it is the name of a group, and left out; but not what others may read as an address or as half of one.
            elements[-1] = [] if all(_may_be_in_phrase(one) for one in elements[-1]) else [_UNREADABLE]
        else:
            angle = mark == "<" or (angle and mark != ">")
            elements[-1].append(token)
    if angle:
        elements[-1].append(_UNREADABLE)
    return [_trim(element) for element in elements]


_UNREADABLE = _Token("junk", "")


def _comment_end(text: str, at: int) -> int:
    """The place behind the comment in which `at` lies, 0 where it has no end. Comments may stand in comments, quotes mean nothing
    there, and a backslash takes the next character with it (RFC 5322 section 3.2.2)."""
    depth = 1
    for mark in _IN_COMMENT.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if not depth:
            return mark.end()
    return 0


def _may_be_in_phrase(token: _Token) -> bool:
    """Whether a token may stand in the name of a group or before an address: brackets and dots are common there. An "@" is not, nor
    what breaks the grammar: "a@b.com <c@d.com>" reads differently in different programs."""
    if token.kind == "literal":  # "[Team] Ada <ada@x.org>"
        return not _LIKE_AN_ADDRESS.search(token.text)
    return token.kind not in ("special", "junk") or token.text == "."


def _trim(tokens: list[_Token]) -> list[_Token]:
    """Without blanks at both ends."""
    start, end = 0, len(tokens)
    while start < end and tokens[start].kind == "space":
        start += 1
    while end > start and tokens[end - 1].kind == "space":
        end -= 1
    return tokens[start:end]


def _mailbox(tokens: list[_Token]) -> Address | None:
    """The address of one element: a bare addr-spec, or the one in angle brackets at the end."""
    marks = [i for i, token in enumerate(tokens) if token.kind == "special" and token.text in "<>"]
    if not marks:
        return _addr_spec(tokens)
    if len(marks) != 2 or tokens[marks[0]].text != "<" or marks[1] != len(tokens) - 1:
        return None
    address = _addr_spec(_trim(tokens[marks[0] + 1 : marks[1]]))
    if all(map(_may_be_in_phrase, tokens[: marks[0]])):
        return address
    # Many programs write the address for the name as well. Where both are the same, nobody reads another.
    named = _addr_spec(_trim(tokens[: marks[0]]))
    return address if named and address and named.key == address.key else None


def _addr_spec(tokens: list[_Token]) -> Address | None:
    """local@domain; blanks only beside dots and the @ (RFC 5322 section 4.4)."""
    at = [i for i, token in enumerate(tokens) if token.text == "@" and token.kind == "special"]
    if len(at) != 1:
        return None
    local, domain = _words(tokens[: at[0]]), _words(tokens[at[0] + 1 :])
    if local is None or domain is None or any(part.kind == "quoted" for part in domain):
        return None
    if any(part.kind == "literal" for part in local):
        return None
    return _build(".".join(part.text for part in local), ".".join(part.text for part in domain))


def _words(tokens: list[_Token]) -> list[_Token] | None:
    """The words between dots, or None unless words and dots take turns."""
    solid = [token for token in tokens if token.kind != "space"]
    words = solid[::2]
    if not solid or len(solid) % 2 == 0 or any(token.text != "." or token.kind != "special" for token in solid[1::2]):
        return None
    return words if all(token.kind in ("atom", "quoted", "literal") for token in words) else None


@remembered(_MAX_ADDRESS)
def _from_simple(text: str) -> Address | None:
    local, _, domain = text.partition("@")
    return None if local.startswith(".") or local.endswith(".") or ".." in local else _build(local, domain)


def _build(local: str, domain: str) -> Address | None:
    local = _unquote(local)
    compared = domain_key(domain)
    if compared is None or len(local) + len(compared) >= _MAX_ADDRESS:
        return None
    try:
        local.encode()
    except UnicodeEncodeError:  # bytes that were not UTF-8 (RFC 6531 section 3.3)
        return None
    # The Kelvin sign is the one other character whose lower case is an ASCII letter: such an address is not the one that it looks like.
    low = local.lower() if "\u212a" not in local else "\u212a".join(part.lower() for part in local.split("\u212a"))
    return Address(local, domain, f"{low}@{compared}")


def _unquote(local: str) -> str:
    """Without quotes that are not needed: "abc"@d and abc@d are one address (RFC 5321 section 4.1.2)."""
    if not local.startswith('"'):
        return local
    inner = re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL)
    return inner if inner and all(_ATOM_ASCII.match(atom) for atom in inner.split(".")) else local


def is_null_path(text: str) -> bool:
    """Whether it is `<>`; blanks and comments may stand round and in it (RFC 5322 section 3.6.7)."""
    return _NULL_PATH.fullmatch(_COMMENT.sub("", text).strip()) is not None


def envelope_key(text: str) -> str | None:
    """An envelope sender as compared: "" for the null sender (`<>` or an empty string, RFC 5321 section 4.5.5), the key of an
    address, or None where it cannot be read. Some providers give out addresses with dots at the ends of the local part, or beside each
    other; they count without these, as another address than any author's, and not as none: then we would answer the author."""
    if not text.strip() or is_null_path(text):
        return ""
    known = key(text)
    if known is None and "." in text:
        found = _DOTTED.fullmatch(text.strip())
        known = key(".".join(filter(None, found[1].split("."))) + found[2]) if found else None
    return known


_DOTTED = re.compile(r"(?=<.*>$|[^<>]*$)<?([^\s<>\"(),:;@\[\\\]]+)(@[^\s<>\"(),:;@\\]+)>?")
