"""S12 and S14 to S16: who the author is, what a person sees in From and what is there, and what is demanded of a sender.

An unsigned mail of an account is weak; so where a forged author came through, a case would say `weak` for the one that is feigned.
"""

from typing import Any

from tests.cases.case import SAMPLE, Case, Fact
from tests.dkim.case import RECEIVED as DKIM_RECEIVED
from tests.dkim.signer import record, sign
from tests.dkim.table_mails import MAIL

_EVE = Fact("unknown", sender="eve@evil.example", reason="no account")
_NOBODY = Fact("unknown", sender=None, reason="no account")
_AMBIGUOUS = Fact("unknown", sender=None, reason="two From fields, or several authors", ends="rejected from-ambiguous")
_WEAK = Fact("weak", "sample", reason="not signed")
_IDN = {**SAMPLE, "addresses": ["jörg@bücher.example"]}
_MIKE = {**SAMPLE, "addresses": ["mike@example.org", "test@paypal.example"]}


def _mail(author: str, fields: str = "") -> bytes:
    return f"From: {author}\r\nTo: a@foo.com\r\nSubject: hello\r\n{fields}\r\nhello\r\n".encode()


def _case(name: str, proves: str, author: str, fact: Fact, row: str = "forgery", fields: str = "", **how: Any) -> Case:
    return Case(name, row, proves, _mail(author, fields), fact, **how)


AUTHOR_CASES = [
    _case("s12-two-from-fields", "Two From fields. Nobody can tell who wrote it.", "test@example.org", _AMBIGUOUS, "S12",
          "From: eve@evil.example\r\n"),
    _case("s12-obsolete-second-from", "The second From has a blank before its colon. It is a second one all the same.", "test@example.org",
          _AMBIGUOUS, "S12", "From : eve@evil.example\r\n"),
    _case("s12-two-and-sender", "From names two, Sender one who has an account. It is as Sender's, and at most weak.",
          "a@x.example, b@x.example", Fact("weak", "sample", reason="at most as weak"), "S12", "Sender: test@example.org\r\n"),
    _case("s12-two-without-sender", "From names two, and there is no Sender. Nobody can tell.", "a@x.example, b@x.example",
          _AMBIGUOUS, "S12"),
    Case("s12-two-and-sender-signed", "S12", "The same with DKIM of Sender's domain. Whose word it is nobody knows, so it stays weak.",
         sign(b"Sender: test@example.org\r\n" + MAIL.replace(b"Sample Person <test@example.org>", b"a@example.org, b@example.org"),
         "rsa-2048",
              tags={"h": "from:sender:to:subject:date"}),
         Fact("weak", "sample", reason="at most as weak"), received_at=DKIM_RECEIVED,
         settings={"authentication": {"trusted_domains": ["*"]}}, zone={"sel._domainkey.example.org": record("rsa-2048")}),
    Case("s12-no-from", "S12", "No From at all. It is nobody's.", _mail("x").partition(b"\r\n")[2], _NOBODY),
    _case("s12-unreadable", "From cannot be read. It is nobody's.", "nobody at all", _NOBODY, "S12"),
    _case("forged-display-name", "The account's address is the display name of another. The address counts.",
          '"test@example.org" <eve@evil.example>', _EVE),
    _case("forged-display-name-unquoted", "The same without quotes, which programs read in two ways. It is nobody's.",
          "test@example.org <eve@evil.example>", _NOBODY),
    _case("forged-display-name-encoded", "The same as an encoded word. It is a name, whatever it says.",
          "=?utf-8?q?test=40example=2Eorg?= <eve@evil.example>", _EVE),
    _case("forged-encoded-address", "The whole address is an encoded word. It is none (RFC 2047 section 5).",
          "=?utf-8?b?dGVzdEBleGFtcGxlLm9yZw==?=",
          _NOBODY),
    _case("forged-encoded-local-part", "The local part is an encoded word, which some decode. It is another address.",
          "=?utf-8?q?test?=@example.org", Fact("unknown", sender="=?utf-8?q?test?=@example.org", reason="no account")),
    _case("folded-address", "The address is folded and holds comments. It is the account's.",
          "Sample\r\n Person <test(it\r\n is)@(really)\r\n\texample.org>", _WEAK),
    _case("quoted-local-part", "The local part is quoted without need. It is the same address.", '"te\\st"@example.org', _WEAK),
    _case("forged-quoted-at", "The account's address is the quoted local part of another. It routes by the last @.",
          '"test@example.org"@evil.example', Fact("unknown", sender='"test@example.org"@evil.example', reason="no account")),
    _case("forged-comment-with-quote", "A quote in a comment hides its end from some programs. Nobody is the author.",
          '(" ) eve@evil.example (" ) test@example.org', _NOBODY),
    _case("forged-comment-with-bracket", "A bracket does likewise. Nobody is the author.", "([) eve@evil.example (]) test@example.org",
          _NOBODY),
    _case("forged-comment-with-backslash", "An escaped bracket ends no comment. The one behind counts, as the grammar has it.",
          "(\\) test@example.org) eve@evil.example", _EVE),
    _case("forged-group-name", "An address stands where the name of a group should. Nobody is the author.",
          "eve@evil.example: test@example.org;",
          _NOBODY),
    _case("forged-route", "An obsolete route stands before the address. Nobody is the author.", "<@evil.example:test@example.org>",
          _NOBODY),
    _case("forged-angle-then-more", "An address stands behind the one in angle brackets. Nobody is the author.",
          "<eve@evil.example> test@example.org", _NOBODY),
    _case("forged-nul", "A NUL ends the address for some programs. Nobody is the author.", "test@example.org\0@evil.example", _NOBODY),
    _case("forged-wide-space", "A wide space belongs to the local part, and is no space. Nobody is the author.", "\u3000test@example.org",
          _NOBODY),
    _case("idn-letters", "The address of an account in its own letters. It is the account's.", "Jörg <jörg@bücher.example>",
          Fact("weak", "sample", "jörg@xn--bcher-kva.example", reason="not signed"), accounts=(_IDN,)),
    _case("idn-a-labels", "The same with the domain in A-labels and capitals. It is the same address.", "JÖRG@XN--BCHER-KVA.example",
          Fact("weak", "sample", "jörg@xn--bcher-kva.example", reason="not signed"), accounts=(_IDN,)),
    _case("forged-idn-lookalike", "Cyrillic letters that look like the account's domain. It is another domain.", "test@раураl.example",
          Fact("unknown", sender="test@xn--l-7sba6dbr.example", reason="no account"), accounts=(_MIKE,)),
    _case("forged-kelvin", "The Kelvin sign, whose lower case is the letter k. It is another address.", "mi\u212ae@example.org",
          Fact("unknown", sender="mi\u212ae@example.org", reason="no account"), accounts=(_MIKE,)),
    _case("s14-account-demands", "The account demands proof, and there is none. It is returned.", "test@example.org",
          Fact("weak", "sample", reason="not signed", ends="returned strong-required"), "S14",
          accounts=({**SAMPLE, "require_strong": True},)),
    _case("s15-handler-demands", "The handler demands proof, and there is none. It is returned.", "test@example.org",
          Fact("weak", "sample", reason="not signed", ends="returned strong-required"), "S15", recipients=("a@vault.example",)),
    Case("s16-too-large", "S16", "The mail is larger than what is taken. An account holder hears of it.",
         _mail("test@example.org") + b"a line of the mail\r\n" * 200, Fact("weak", "sample", ends="returned too-large"),
         settings={"ingest": {"max_size": 2048}}),
    Case("s16-too-large-robot", "S16", "The same with Precedence. The bounce rules come first.",
         _mail("test@example.org", "Precedence: bulk\r\n") + b"a line of the mail\r\n" * 200,
         Fact("unknown", sender=None, ends="dropped precedence"), settings={"ingest": {"max_size": 2048}}),
]  # fmt: skip
