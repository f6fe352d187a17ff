"""Cases about the signature field: its form, its extent, its times, its signer, and several of them."""

from cryptography.hazmat.primitives.hashes import SHA1

from tests.dkim.case import Case, Expected
from tests.dkim.signer import record, sign
from tests.dkim.table_mails import BODY_CHANGED, CHANGED, MAIL, OTHER_FROM, PASS

_PERM = "permerror"
_LONGER = MAIL + b"Added.\r\n"
_GOOD = sign(MAIL)
_IDN = "xn--bcher-kva.example"


def _bad(reason: str, result: str = _PERM, domain: str = "example.org") -> list[Expected]:
    return [Expected(result, reason, domain)]


def _missing() -> bytes:
    """One signature for each required tag that it lacks; h is lacking on top."""
    mail = MAIL
    for tag in ("v", "a", "b", "bh", "d", "h", "s"):
        mail = sign(mail, tags={tag: None}) if tag not in {"d", "s"} else sign(mail, tags={tag: None, "i": "@example.org"})
    return mail


SIGNATURE_CASES = [
    Case("100-blank-behind-b", sign(MAIL, after_b=" \r\n ; n=note"), PASS,
        "White space stands behind the value of b=, and a tag follows. It is no part of the value.",
        dkimpy="Leaves the white space in what it hashes. RFC 6376 3.7 takes out all that surrounds the value."),
    Case("101-folded-b", sign(MAIL, before_b="\r\n ", after_b=" \r\n "), PASS,
        "White space stands round the value of b=. It is no part of it."),
    Case("102-b-first", sign(MAIL, glue=" ; ", order=("bh", "a")), PASS, "The tags stand in another order. Only v= first is usual."),
    Case("103-last-semicolon", sign(MAIL, after_b=";"), PASS, "A semicolon ends the list. The grammar has it."),
    Case("104-folded-tags", sign(MAIL, glue=";\r\n\t"), PASS, "Each tag stands on its own line. Folds are white space."),
    Case("105-unknown-tag", sign(MAIL, tags={"zz": "1"}), PASS, "A tag that nobody knows is passed over. It is signed like the rest."),
    Case("106-blank-in-h", sign(MAIL, tags={"h": "From : To :\r\n\tSubject"}), PASS, "Blanks and folds stand in h=. Names have no case."),
    Case("107-other-spelling", sign(MAIL, name="dkim-signature:"), PASS, "The field's own name is in lower case. It is signed that way."),
    Case("108-blank-before-colon", sign(MAIL, name="DKIM-Signature : "), [Expected("policy", "blank before its colon")],
        "The field's own name has a blank before the colon, at which some readers stop. No signature passes then."),
    Case("109-tag-twice", sign(MAIL, glue="; d=example.org; "), _bad("stands twice", domain=""),
        "A tag stands twice. The whole list is void."),
    Case("110-no-tag-list", b"DKIM-Signature: none\r\n" + MAIL, _bad("is not name=value", domain=""),
        "The field is no tag list. It counts as broken."),
    Case("111-empty-tag", sign(MAIL, glue=";; "), _bad("is not name=value", domain=""),
        "Two semicolons follow each other. Nothing between is no tag."),
    Case("112-control-character", sign(MAIL, tags={"n": "a\x01b"}), _bad("control character", domain=""),
        "A tag holds a control character. No list does.",
        dkimpy="Passes. RFC 6376 3.2 lets a value hold printable characters and white space."),
    Case("113-not-utf-8", sign(MAIL, tags={"n": "x"}).replace(b"n=x", b"n=\xff"), _bad("not UTF-8", domain=""),
        "A tag is not UTF-8. RFC 8616 asks for it."),
    Case("114-missing-tags", _missing(),
        [Expected(_PERM, f"no {tag}=", "" if tag == "d" else "example.org") for tag in ("s", "h", "d", "bh", "b", "a", "v")],
        "Seven signatures each lack one required tag. None of them counts."),
    Case("115-version-2", sign(MAIL, tags={"v": "2"}), _bad("version is unknown"), "v=2 does not exist. It cannot be verified."),
    Case("116-rsa-sha1", sign(MAIL, tags={"a": "rsa-sha1"}, hash_with=SHA1), _bad("SHA-1", "policy"),
        "SHA-1 verifies and must not count. RFC 8301 forbids it.",
        dkimpy="Passes. RFC 8301 3.1: rsa-sha1 must not be used for verifying."),
    Case("117-unknown-algorithm", sign(MAIL, tags={"a": "rsa-sha512"}),
        _bad("algorithm is unknown"), "a= names what no RFC has. It cannot be verified."),
    Case("118-unknown-form", sign(MAIL, tags={"c": "relaxed/nowsp"}),
        _bad("canonicalisation is unknown"), "c= names what no RFC has. It cannot be verified."),
    Case("119-three-forms", sign(MAIL, tags={"c": "relaxed/relaxed/relaxed"}),
        _bad("canonicalisation is unknown"), "c= has two parts. A third is an error."),
    Case("120-other-query", sign(MAIL, tags={"q": "dns/other"}), _bad("not to be had from DNS"),
        "The key is elsewhere than in DNS. We know only DNS."),
    Case("121-two-queries",
        sign(MAIL, tags={"q": "dns/other:dns/txt"}), PASS, "q= is a list, and DNS is among it. Unknown ones are passed over.",
        dkimpy="Refuses every q= but dns/txt alone. RFC 6376 3.5 makes it a list, of which unknown ones are ignored."),
    Case("122-short-hash", sign(MAIL, tags={"bh": "AAAA"}), _bad("bh= is no SHA-256"), "bh= is three bytes long. That is no hash."),
    Case("123-other-hash", sign(MAIL, tags={"bh": "A" * 43 + "="}), BODY_CHANGED, "bh= is of another body. The header alone verifies."),
    Case("124-b-no-base64", sign(MAIL, tags={"b": "!!!!"}), _bad("b= is not base64"), "b= is not base64. It cannot be verified."),
    Case("125-b-of-another-mail", sign(MAIL, tags={"b": "A" * 171 + "="}), CHANGED, "b= is no signature of this mail. It fails."),
    Case("126-other-key", sign(MAIL, "rsa-1024-other"), CHANGED, "Signed by another key than DNS has. It fails."),
    # What is signed.
    Case("130-from-not-signed", sign(MAIL, tags={"h": "to:subject"}),
        _bad("From is not among"), "h= leaves From out. RFC 6376 5.4 requires it.",
        dkimpy="Passes. RFC 6376 6.1.1: without From in h= the signature must be ignored."),
    Case("131-no-from", sign(MAIL.partition(b"\r\n")[2]), _bad("no From field"), "The mail has no From. There is nobody to vouch for.",
        dkimpy="Passes. RFC 6376 3.8 asks for a message by RFC 5322, which has a From."),
    Case("132-empty-name-in-h", sign(MAIL, tags={"h": "from:to:"}),
        _bad("h= is no list"), "h= ends in a colon. The grammar wants a name behind it.",
        dkimpy="Passes. RFC 6376 3.5 (sig-h-tag): a name stands on each side of a colon."),
    Case("133-body-length", sign(MAIL, tags={"l": "20"}) + b"Added.\r\n",
        _bad("only the beginning", "policy"), "l= signs the beginning, and a line was added. It proves nothing.",
        dkimpy="Passes. RFC 6376 8.2 describes the attack and lets the verifier refuse."),
    Case("134-whole-length", sign(MAIL, tags={"l": str(len(MAIL))}),
        _bad("only the beginning", "policy"), "l= covers the whole body. Any l= is refused, for it invites additions.",
        dkimpy="Passes. RFC 6376 8.2 describes the attack and lets the verifier refuse."),
    Case("135-signature-signed", sign(_GOOD, tags={"h": "from:dkim-signature"}), [Expected("pass"), Expected("pass")],
        "The upper signature is over the lower one too. Its own field is not among those that h= names."),
    Case("136-signature-oversigned", sign(_GOOD, tags={"h": "from:dkim-signature:dkim-signature"}), [Expected("pass"), Expected("pass")],
        "h= names two further signatures, of which one is there. Its own field is not the second.",
        dkimpy="Takes its own field as the second. RFC 6376 3.5: h= must not include the field that is being verified."),
    # When it was signed: received at ten past midnight.
    Case("140-expired", sign(MAIL, tags={"x": "1717200599"}),
        _bad("expired", "policy"), "x= was one second before receipt. It had expired.",
        dkimpy="Passes: it allows ten hours. RFC 6376 3.5 (x=) has no allowance, and receipt is our own clock."),
    Case("141-expires-now", sign(MAIL, tags={"x": "1717200600"}), PASS, "x= is the second of receipt. It is not past."),
    Case("142-future", sign(MAIL, tags={"t": "1717201201"}),
        _bad("after receipt", "policy"), "t= lies ten minutes and one second ahead. Clocks differ less.",
        dkimpy="Passes: it allows ten hours. RFC 6376 3.5 (t=) lets the verifier ignore signatures from the future."),
    Case("143-slightly-future", sign(MAIL, tags={"t": "1717201200"}), PASS, "t= lies ten minutes ahead. Clocks may differ by that."),
    Case("144-expired-before-made", sign(MAIL, tags={"t": "1717200000", "x": "1717200000"}),
        _bad("expires before"), "x= is not after t=. RFC 6376 3.5 asks for that.",
        dkimpy="Passes when x= equals t=. RFC 6376 3.5: x= must be greater than t=."),
    Case("145-time-no-number", sign(MAIL, tags={"t": "yesterday"}), _bad("t= is no number"), "t= is no number. The field is broken."),
    Case("146-endless-time", sign(MAIL, tags={"x": "9" * 13}),
        _bad("x= is no number"), "x= has thirteen digits. The grammar stops at twelve.",
        dkimpy="Passes. RFC 6376 3.5: 1*12DIGIT."),
    Case("147-no-time", sign(MAIL, tags={"t": None}), PASS, "t= is absent. No age is asked for here."),
    Case("148-old", sign(MAIL), PASS, "Signed two years before receipt. Without an age limit that passes.",
        received_at="2026-06-01T00:00:00Z"),
    Case("149-too-old", sign(MAIL), _bad("seconds old", "policy"),
        "Signed one second more than a day before receipt. The limit is a day.",
        received_at="2024-06-02T00:00:01Z", max_age=86400,
        dkimpy="Passes: it knows no age limit. RFC 6376 8.6 names replays and leaves them to policy."),
    Case("150-old-enough", sign(MAIL), PASS, "Signed a day before receipt. The limit is a day.",
        received_at="2024-06-02T00:00:00Z", max_age=86400),
    Case("151-age-unknown", sign(MAIL, tags={"t": None}),
        _bad("age is not known", "policy"), "t= is absent, and an age limit is set. The age is not known.",
        max_age=86400, dkimpy="Passes: it knows no age limit. RFC 6376 8.6 names replays and leaves them to policy."),
    # Who signed.
    Case("160-identity", sign(MAIL, tags={"i": "sample@mail.example.org"}), PASS, "i= lies below d=. That is allowed."),
    Case("161-identity-outside", sign(MAIL, tags={"i": "sample@example.net"}),
        _bad("outside d="), "i= is another domain's. It is a syntax error."),
    Case("162-identity-lookalike", sign(MAIL, tags={"i": "@badexample.org"}),
        _bad("outside d="), "i= ends in d= without a dot between. It lies outside."),
    Case("163-identity-above", sign(MAIL, tags={"d": "mail.example.org", "i": "@example.org"}),
        _bad("outside d=", domain="mail.example.org"), "i= lies above d=. It lies outside."),
    Case("164-identity-without-at", sign(MAIL, tags={"i": "example.org"}), _bad("outside d="), "i= has no @. It is no identity."),
    Case("165-top-level", sign(MAIL, tags={"d": "org", "i": "@example.org"}), _bad("d= is no domain name", domain="org"),
        "A top-level domain signs for all below it. The grammar asks for two labels.",
        {"sel._domainkey.org": record("rsa-1024")}, dkimpy="Passes. RFC 6376 3.5: domain-name is sub-domain 1*(\".\" sub-domain)."),
    Case("166-no-domain", sign(MAIL, tags={"d": "example.org(.example.net"}),
        _bad("d= is no domain name", domain=""), "d= hides another domain behind a bracket. It is none."),
    Case("167-no-selector", sign(MAIL, tags={"s": "a..b"}), _bad("s= is no selector"), "s= has an empty label. It is no name."),
    Case("168-upper-case", sign(MAIL, tags={"d": "EXAMPLE.org", "s": "SEL"}), PASS, "d= and s= are in upper case. Names have no case."),
    Case("169-idn", sign(MAIL, tags={"d": "bücher.example"}),
        [Expected("pass", domain=_IDN)], "d= is written in UTF-8 (RFC 8616). It is looked up, and told, in A-labels.",
        {f"sel._domainkey.{_IDN}": record("rsa-1024")}, dkimpy="Looks the name up as written. RFC 8616 4: the query takes A-labels."),
    Case("170-selector-of-two-labels", sign(MAIL, tags={"s": "a.b"}), PASS, "A selector may have dots. It is part of the name.",
        {"a.b._domainkey.example.org": record("rsa-1024")}),
    # Several of them.
    Case("180-two-signatures", sign(sign(MAIL, "ed25519", tags={"s": "ed"}), "rsa-2048", tags={"s": "rsa"}), [Expected("pass"),
        Expected("pass")],
        "Two signatures by two keys, as RFC 8463 advises. Each has its result.",
        {"ed._domainkey.example.org": record("ed25519"), "rsa._domainkey.example.org": record("rsa-2048")}),
    Case("181-one-good", sign(sign(MAIL), tags={"d": "list.example", "b": "A" * 171 + "="}),
        [Expected("permerror", "no key", "list.example"), Expected("pass")],
        "The upper signature has no key, the lower one is good. One is enough."),
    Case("182-too-many", b"DKIM-Signature: v=1\r\n" * 12 + MAIL,
        [Expected("permerror", "no a=", "")] * 10 + [Expected("policy", "2 more signatures", "")],
        "Twelve signatures stand there. Ten are judged, and the evidence says how many were not."),
    Case("183-different-bodies",
        sign(sign(MAIL, tags={"c": "simple/simple"}), tags={"c": "relaxed/relaxed"}).replace(b"every night", b"every  night"),
        [Expected("pass"), *BODY_CHANGED], "Blanks were added on the way. The relaxed signature passes, the simple one does not."),
    Case("184-from-of-a-list", OTHER_FROM + sign(MAIL, tags={"h": "from:from"}), CHANGED,
        "A list put its own From above. The author's signature forbids it."),
]  # fmt: skip
