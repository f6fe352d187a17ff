"""S13: the word of our own mail server, and what forgers write in its name."""

from collections.abc import Mapping
from typing import Any

from tests.cases.case import Case, Fact

_US: Mapping[str, Mapping[str, Any]] = {"authentication": {"authserv_id": "mx.ours.example"}}
_MAIL = b"From: Sample Person <test@example.org>\r\nTo: a@foo.com\r\nSubject: hello\r\n\r\nhello\r\n"
_STRONG = Fact("strong", "sample", method="authentication-results")
_PASS = b"Authentication-Results: mx.ours.example; dkim=pass header.d=example.org\r\n"


def _case(name: str, proves: str, fields: bytes, reason: str | None, mail: bytes = _MAIL, settings: Mapping[str, Any] = _US) -> Case:
    fact = _STRONG if reason is None else Fact("weak", "sample", reason=reason)
    return Case(name, "S13", proves, fields + mail, fact, settings=settings)


def _ours(name: str, proves: str, said: bytes, reason: str | None = "no aligned pass") -> Case:
    return _case(name, proves, b"Authentication-Results: mx.ours.example; " + said + b"\r\n", reason)


RESULTS_CASES = [
    _ours("s13-dkim", "Our server says that the author's domain signed. It is strong.", b"dkim=pass header.d=example.org", None),
    _ours("s13-dmarc", "Our server says that DMARC passed for the author's domain. It is strong.", b"dmarc=pass header.from=example.org",
          None),
    _ours("s13-below", "The signer lies below the author's domain. Relaxed alignment allows for that.",
          b"dkim=pass header.d=mail.example.org", None),
    _ours("s13-other-domain", "Another domain signed. It does not speak for the author's.", b"dkim=pass header.d=elsewhere.example"),
    _ours("s13-fail-wins", "Two clauses about one signer differ. The fail counts.",
          b"dkim=pass header.d=example.org; dkim=fail header.d=example.org"),
    _ours("s13-dmarc-differs", "Two clauses about DMARC differ. Neither counts.",
          b"dmarc=fail header.from=example.org; dmarc=pass header.from=example.org"),
    _ours("s13-comment", "The pass stands in a comment. Comments say nothing.",
          b"dkim=fail (dkim=pass header.d=example.org) header.d=example.org"),
    _ours("s13-nested-comment", "The pass stands behind a comment in a comment. The outer one goes on.",
          b"dkim=fail (a (b) ; dkim=pass header.d=example.org) header.d=example.org"),
    _ours("s13-quoted", "The pass stands in a quoted string. It is a value.",
          b'spf=pass smtp.mailfrom="x; dkim=pass header.d=example.org"'),
    _ours("s13-shared-property", "The domain stands in the clause of another method. Each word belongs to its own.",
          b"dkim=pass; spf=pass header.d=example.org"),
    _ours("s13-from-in-local-part", "The signer is named in a local part. Only the domain counts.",
          b"dkim=pass header.i=example.org@elsewhere.example"),
    _case("s13-other-server", "Another server says so, and anybody can write that. It counts for nothing.",
          _PASS.replace(b"mx.ours", b"mx.theirs"), "no field by"),
    _case("s13-server-in-comment", "Our server's name stands in a comment. Another one wrote it.",
          b"Authentication-Results: (mx.ours.example) mx.theirs.example; dkim=pass header.d=example.org\r\n", "no field by"),
    _case("s13-behind-a-comment", "A comment stands before our server's name, behind which a plain program does not look. It is not ours.",
          _PASS.replace(b": mx", b": (a) mx"), "malformed"),
    _case("s13-wide-blank", "A blank beyond ASCII stands behind our server's name, so a plain program reads another one. It is not ours.",
          _PASS.replace(b"example;", b"example\xc2\xa0;"), "malformed"),
    Case("s13-lookalike-letter", "S13", "A letter of our server's name is the Kelvin sign, whose lower case is k. It is another name.",
         b"Authentication-Results: mx.\xe2\x84\xaaernel.example (mx.kernel.example); dkim=pass header.d=example.org\r\n" + _MAIL,
         Fact("weak", "sample", reason="malformed"), settings={"authentication": {"authserv_id": "mx.kernel.example"}}),
    _case("s13-longer-name", "The server's name begins as ours does. It is another one.",
          _PASS.replace(b"mx.ours.example;", b"mx.ours.example.evil.example;"), "no field by"),
    _case("s13-twice", "A second field has our name. At most one can be true, so both count for nothing.", _PASS * 2, "2 fields by"),
    _case("s13-not-set", "No name of ours is set. Nobody is believed.", _PASS, "not signed", settings={}),
    _case("s13-bare-cr", "The field stands behind a bare CR, where our server saw the middle of another field. It counts for nothing.",
          b"X-Note: a\r" + _PASS, "more than one way"),
    _case("s13-blank-before-colon",
          "The field's name has a blank behind it, and a server that takes forged ones out may not know it. It is not ours.",
          _PASS.replace(b"Results:", b"Results :"), "more than one way"),
    _case("s13-behind-a-separator",
          "A mailbox's From line stands in the header, at which some end it. What stands behind counts for nothing.",
          b"X-Note: a\r\nFrom nobody Mon Mar  2 10:00:00 2026\r\n" + _PASS, "more than one way"),
    _case("s13-behind-a-line-of-blanks",
          "A line of blanks stands in the header, at which some end it. What stands behind counts for nothing.",
          b"X-Note: a\r\n \r\n" + _PASS, "more than one way"),
    Case("s13-sender", "S13",
         "The pass is aligned with Sender only. Which fields were signed the field does not say, so it proves From alone.",
         _PASS + _MAIL.replace(b"Sample Person <test@example.org>", b"boss@elsewhere.example\r\nSender: test@example.org"),
         Fact("unknown", sender="boss@elsewhere.example", reason="no aligned pass"), settings=_US),
]  # fmt: skip
