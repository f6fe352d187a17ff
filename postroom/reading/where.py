"""`--where EXPR`: a small language for or and not, over the fields of `list` and some more (`postroom.reading.rows.FURTHER`).

    status == "failed" and (reason != 'no-handler' or recipient like "*@bugs.example.org") and not handler in ("bugs", null)

A comparison has a field on its left and constants on its right: strings in quotes, whole numbers, null. `==`, `!=`, `in` and
`not in` know null like any value; an order with null is false. `like` takes `*` for any text and does not see case. Addresses are
compared as everywhere, times may be given as for --since, and strength has its own order: unknown, weak, strong.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from postroom.reading.rows import FIELDS, FURTHER
from postroom.reading.times import parse_time
from topology.address import envelope_key
from topology.facts import rfc3339

Condition = Callable[[Mapping[str, Any]], bool]
"""Whether a row is wanted."""

_ADDRESSES = frozenset({"envelope_sender", "sender", "recipient"})
_TIMES = frozenset({"received_at", "decided_at"})
_NUMBERS = frozenset({"generation", "partition", "offset"})
_STRENGTHS = {"unknown": 0, "weak": 1, "strong": 2}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_DEEPEST = 50
"""Parentheses and `not` within each other; nobody writes more, and each takes some of Python's stack."""
_TOKEN = re.compile(
    r"""(?P<blank>\s+)
      | (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
      | (?P<number>-?\d{1,18}(?!\w))
      | (?P<word>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<sign>==|!=|<=|>=|[<>(),])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class WhereError(ValueError):
    """The expression cannot be read. column: counted from 1."""

    def __init__(self, column: int, why: str) -> None:
        super().__init__(f"column {column}: {why}")
        self.column = column


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def parse_where(text: str, now_ms: int) -> Condition:
    """The condition that the expression states. now_ms: what relative times count from. Raises WhereError."""
    return _Parser(text, now_ms).whole()


def like(pattern: str, text: str) -> bool:
    """Whether the text fits a pattern in which `*` is any text; case does not matter. Linear for each piece of the pattern."""
    pieces = pattern.lower().split("*")
    text = text.lower()
    if len(pieces) == 1:
        return text == pieces[0]
    if not text.startswith(pieces[0]) or not text.endswith(pieces[-1]) or len(text) < len(pieces[0]) + len(pieces[-1]):
        return False
    at, end = len(pieces[0]), len(text) - len(pieces[-1])
    for piece in pieces[1:-1]:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _tokens(text: str) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind, column = match.lastgroup or "other", match.start() + 1
        if kind == "other":
            why = "the string is not closed" if match[0] in "\"'" else f"{match[0]!r} has no meaning here"
            raise WhereError(column, "write == for equality" if match[0] == "=" else why)
        if kind != "blank":
            found.append(_Token(kind, match[0], column))
    return [*found, _Token("end", "", len(text) + 1)]


class _Parser:
    """Recursive descent, lowest precedence first: or, and, not, comparison."""

    def __init__(self, text: str, now_ms: int) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._now_ms = now_ms

    def whole(self) -> Condition:
        condition = self._either()
        if self._next.kind != "end":
            self._refuse(f"expected `and`, `or` or the end, not {self._next.text!r}")
        return condition

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _refuse(self, why: str, at: _Token | None = None) -> NoReturn:
        raise WhereError((at or self._next).column, why)

    def _take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these words or signs; passes it."""
        token = self._next
        if token.kind in ("word", "sign") and token.text.lower() in texts:
            self._at += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._refuse(f"expected {text!r}" + (f", not {self._next.text!r}" if self._next.text else ""))

    def _either(self) -> Condition:
        conditions = [self._both()]
        while self._take("or"):
            conditions.append(self._both())
        return _any(conditions)

    def _both(self) -> Condition:
        conditions = [self._negated()]
        while self._take("and"):
            conditions.append(self._negated())
        return _all(conditions)

    def _negated(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"more than {_DEEPEST} parentheses within each other")
        if self._take("not"):
            condition = _not(self._negated())
        elif self._take("("):
            condition = self._either()
            self._expect(")")
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        token = self._next
        if token.kind != "word" or token.text not in (*FIELDS, *FURTHER):
            what = "the expression ends where a field should stand" if token.kind == "end" else f"{token.text!r} is no field"
            self._refuse(f"{what}; fields are {', '.join((*FIELDS, *FURTHER))}")
        self._at += 1
        field = token.text
        negative = self._take("not")
        if self._take("in"):
            condition = _among(field, self._several(field))
        elif self._take("like"):
            condition = _fits(field, self._pattern())
        elif negative:
            self._refuse("expected `in` or `like` after `not`")
        else:
            return self._ordered(field)
        return _not(condition) if negative else condition

    def _ordered(self, field: str) -> Condition:
        sign = self._take("==", "!=", *_ORDERS)
        if not sign:
            self._refuse(f"expected ==, !=, <, <=, >, >=, in or like after {field}")
        at = self._next
        value = self._constant(field)
        if sign.text == "==":
            return _among(field, [value])
        if sign.text == "!=":
            return _not(_among(field, [value]))
        if value is None:
            self._refuse("null has no order; compare it with == or !=", at)
        return _compared(field, _ORDERS[sign.text], value)

    def _several(self, field: str) -> list[Any]:
        self._expect("(")
        values = [self._constant(field)]
        while self._take(","):
            values.append(self._constant(field))
        self._expect(")")
        return values

    def _pattern(self) -> str:
        token = self._next
        if token.kind != "string":
            self._refuse("like takes a string in quotes")
        self._at += 1
        return _unquoted(token.text)

    def _constant(self, field: str) -> Any:
        """A value in the form in which the field's are compared."""
        token = self._next
        if token.kind == "word" and token.text.lower() == "null":
            self._at += 1
            return None
        if token.kind == "number" and field in _NUMBERS:
            self._at += 1
            return int(token.text)
        if token.kind != "string" or field in _NUMBERS:
            kind = "a whole number" if field in _NUMBERS else "a string in quotes"
            self._refuse(f"{field} is compared with {kind} or null" + (f", not {token.text}" if token.text else ""))
        self._at += 1
        return self._compared_as(field, _unquoted(token.text), token)

    def _compared_as(self, field: str, text: str, token: _Token) -> Any:
        if field in _ADDRESSES:
            known = envelope_key(text)
            return text.lower() if known is None else known
        if field in _TIMES:
            try:
                return rfc3339(parse_time(text, self._now_ms))
            except (ValueError, OverflowError) as error:
                self._refuse(str(error), token)
        if field == "strength":
            if text not in _STRENGTHS:
                self._refuse(f"{text!r} is no strength; they are {', '.join(_STRENGTHS)}", token)
            return _STRENGTHS[text]
        return text


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _value(field: str, row: Mapping[str, Any]) -> Any:
    value = row[field]
    return _STRENGTHS.get(value) if field == "strength" else value


def _any(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else lambda row: any(condition(row) for condition in conditions)


def _all(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else lambda row: all(condition(row) for condition in conditions)


def _not(condition: Condition) -> Condition:
    return lambda row: not condition(row)


def _among(field: str, values: list[Any]) -> Condition:
    return lambda row: _value(field, row) in values


def _fits(field: str, pattern: str) -> Condition:
    return lambda row: row[field] is not None and like(pattern, str(row[field]))


def _compared(field: str, order: Callable[[Any, Any], bool], value: Any) -> Condition:
    def compare(row: Mapping[str, Any]) -> bool:
        mine = _value(field, row)
        return mine is not None and order(mine, value)

    return compare
