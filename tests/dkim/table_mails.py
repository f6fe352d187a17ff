"""Cases about the mail: what may change on its way, and what may not."""

from tests.dkim.case import Case, Expected
from tests.dkim.signer import CRLF, record, sign

MAIL = (
    b"From: Sample Person <test@example.org>\r\n"
    b"To: bugs@bugs.example.net\r\n"
    b"Subject: The lamp  flickers\r\n when  it rains\r\n"
    b"Date: Sat, 1 Jun 2024 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"\r\n"
    b"It does so  every night.\r\n"
    b"\tIt did not last year. \r\n"
    b"\r\n"
    b"-- \r\nSample\r\n"
)
HEAD, BODY = MAIL.split(b"\r\n\r\n", 1)
HEAD += CRLF
PASS = [Expected("pass")]
CHANGED = [Expected("fail", "header field has been changed")]
BODY_CHANGED = [Expected("fail", "body has been changed")]
OTHER_FROM = b"From: Somebody Else <else@example.org>\r\n"
SIMPLE = {"c": "simple/simple"}
RSA2048 = {"sel._domainkey.example.org": record("rsa-2048")}
ED25519 = {"sel._domainkey.example.org": record("ed25519")}

_AS_SEEN = sign(MAIL)
_OVERSIGNED = {"h": "from:from:to:subject:subject:date:message-id"}
_TWO = b"X-Step: one\r\nX-Step: two\r\n" + MAIL

MAIL_CASES = [
    Case("001-rsa-1024", sign(MAIL), PASS, "An ordinary signature by a key of 1,024 bits passes. Both forms are relaxed."),
    Case("002-rsa-2048", sign(MAIL, "rsa-2048"), PASS, "A key of 2,048 bits passes. It is what most signers use.", RSA2048),
    Case("003-ed25519", sign(MAIL, "ed25519"), PASS, "Ed25519 signs the SHA-256 hash of the header (RFC 8463). It passes.", ED25519),
    Case("004-simple", sign(MAIL, tags=SIMPLE), PASS, "Both forms are simple. What has not been touched passes."),
    Case("005-simple-relaxed", sign(MAIL, tags={"c": "simple/relaxed"}), PASS, "The header is simple, the body relaxed. It passes."),
    Case("006-one-form", sign(MAIL, tags={"c": "relaxed"}), PASS, "One form in c= is the header's. The body is simple then."),
    Case("007-no-form", sign(MAIL, tags={"c": None}), PASS, "Without c= both forms are simple. The RFC sets that default."),
    Case(
        "008-line-feeds", _AS_SEEN.replace(CRLF, b"\n"), PASS,
        "A mail that a file keeps with bare LF was signed with CRLF. Every LF counts as CRLF.",
    ),
    Case("009-line-feeds-simple", sign(MAIL, tags=SIMPLE).replace(CRLF, b"\n"), PASS, "The same with simple forms. It passes too."),
    Case("010-mixed-line-ends", _AS_SEEN.replace(b".\r\n", b".\n"), PASS, "Some lines end in LF, others in CRLF. Both are line ends."),
    Case(
        "011-refolded",
        _AS_SEEN.replace(b"flickers\r\n when  it", b"flickers when\r\n\t it").replace(b"last year. ", b"last\tyear.   "),
        PASS,
        "A relay folded the subject elsewhere and changed blanks. Relaxed forms allow for that.",
    ),
    Case(
        "012-refolded-simple", sign(MAIL, tags=SIMPLE).replace(b"flickers\r\n when", b"flickers when"), CHANGED,
        "Simple forms allow for nothing. A subject folded elsewhere is another one.",
    ),
    Case("013-empty-lines-added", _AS_SEEN + CRLF * 3, PASS, "Empty lines at the end are not signed. Relays add and remove them."),
    Case("014-last-line-end-lost", _AS_SEEN.removesuffix(CRLF), PASS, "The last line end is lost. The canonical body ends in one."),
    Case("015-blank-in-line", _AS_SEEN.replace(b"every night", b"every n ight"), BODY_CHANGED,
        "A blank where none was. That is a change."),
    Case("016-empty-body", sign(HEAD + CRLF), PASS, "A mail without a body, relaxed. Its hash is that of nothing."),
    Case("017-empty-body-simple", sign(HEAD + CRLF, tags=SIMPLE), PASS, "A mail without a body, simple. Its hash is that of CRLF."),
    Case("018-no-empty-line", sign(HEAD), PASS, "The header is all there is, without the empty line. The body is empty."),
    Case("019-bare-cr-in-body", sign(MAIL + b"a\rb\r\r\n\r\r\n"), PASS, "A bare CR ends no line. It is signed as it stands."),
    Case(
        "020-bare-cr-at-end", sign(MAIL + b"end\r\r\n").replace(b"end\r\r\n", b"end\r\n"), BODY_CHANGED,
        "A bare CR before the last line end is content. Whoever takes it away changes the body.",
    ),
    Case("021-body-changed", _AS_SEEN.replace(b"every night", b"every month"), BODY_CHANGED,
        "A word of the body changed. The hash tells."),
    Case("022-body-added", _AS_SEEN + b"Do pay at once.\r\n", BODY_CHANGED, "A line was added at the end. The hash tells."),
    Case(
        "023-from-changed", _AS_SEEN.replace(b"test@", b"root@"), CHANGED,
        "The author's address was changed. From is always signed, so it does not pass.",
    ),
    Case("024-subject-changed", _AS_SEEN.replace(b"lamp", b"bank"), CHANGED, "A signed subject was changed. The signature tells."),
    Case("025-field-added", b"X-Spam: no\r\n" + _AS_SEEN, PASS, "A field that h= does not name was added. That is allowed."),
    Case("026-field-removed", _AS_SEEN.replace(b"Message-ID: <1@example.org>\r\n", b""), CHANGED, "A signed field is gone. That tells."),
    Case(
        "027-absent-field-added", b"Cc: all@example.org\r\n" + sign(MAIL, tags={"h": "from:to:cc"}), CHANGED,
        "h= named a Cc that was not there. Adding one changes what was signed.",
    ),
    Case(
        "028-second-from", OTHER_FROM + _AS_SEEN, [Expected("policy", "2 From fields", unsigned=("from",))],
        "A second From was put on top, and h= names one. The signature verifies, yet proves nothing about the author that is seen.",
    ),
    Case(
        "029-second-from-below", _AS_SEEN.replace(b"\r\n\r\n", CRLF + OTHER_FROM + CRLF, 1), [Expected("policy", "2 From fields")],
        "The second From stands below the signed one. It is taken first, and the signed one is left over.",
    ),
    Case(
        "030-second-from-oversigned", OTHER_FROM + sign(MAIL, tags=_OVERSIGNED), CHANGED,
        "h= names From twice, so that no second one can be added. One was added.",
    ),
    Case(
        "031-two-from-signed", sign(OTHER_FROM + MAIL, tags=_OVERSIGNED), PASS,
        "Both From fields were there and both are signed. Which of them is the author is not for DKIM to say.",
    ),
    Case(
        "032-second-subject", b"Subject: Win\r\n" + _AS_SEEN, [Expected("policy", "2 Subject fields", unsigned=("subject",))],
        "A second Subject was put on top, which is what readers see. The signature verifies, and does not count.",
        dkimpy="Passes. RFC 6376 8.15 describes the attack, and RFC 5322 3.6 allows one Subject.",
    ),
    Case(
        "033-sender-added", b"Sender: root@example.org\r\n" + _AS_SEEN, [Expected("pass", unsigned=("sender",))],
        "A Sender was added that nobody signed. The evidence says so, for it must not be taken as the author.",
    ),
    Case(
        "034-repeated-field", sign(_TWO, tags={"h": "from:x-step:x-step"}), PASS,
        "Fields of one name are taken from the bottom up. Signer and verifier agree on the order.",
    ),
    Case(
        "035-repeated-field-swapped",
        sign(_TWO, tags={"h": "from:x-step:x-step"}).replace(b"X-Step: one\r\nX-Step: two", b"X-Step: two\r\nX-Step: one"),
        CHANGED,
        "The two fields changed places. Their order is signed.",
    ),
    Case("036-case-of-names", sign(MAIL).replace(b"Subject:", b"SUBJECT:"), PASS, "A field's name has another case. Relaxed takes that."),
    Case(
        "037-blank-before-colon", sign(MAIL.replace(b"From:", b"From :")), [Expected("policy", "blank before its colon")],
        "Readers that stop at a blank before a colon take the rest of the header for the text. No signature passes then.",
    ),
    Case(
        "052-text-in-a-field-with-blank",
        _AS_SEEN.replace(b"\r\n\r\n", b"\r\nX-Note : see below\r\n status invalid\r\n\r\n", 1),
        [Expected("policy", "blank before its colon")],
        "An unsigned field with a blank before its colon was added. To readers that stop there it is the first line of the text.",
    ),
    Case(
        "038-bare-cr-in-header", _AS_SEEN.replace(b"Subject:", b"X-A: b\rFrom: else@example.org\r\nSubject:"),
        [Expected("policy", "bare CR")],
        "Readers that end a line at a bare CR see a second From in this unsigned field. No signature passes in such a header.",
        dkimpy="Passes. RFC 6376 3.8 and 8.15 ask for a well-formed message, and RFC 5322 2.2 forbids the bare CR.",
    ),
    Case(
        "039-line-that-is-no-field", b"Some words\r\n" + _AS_SEEN, [Expected("policy", "no field")],
        "Readers that stop at a line which is no field see no header at all. No signature passes then.",
    ),
    Case("040-fold-on-top", b" folded\r\n" + _AS_SEEN, [Expected("policy", "no field")], "A fold of nothing stands on top. Likewise."),
    Case("041-mbox-line", b"From a@b Sat Jun  1 00:00:00 2024\r\n" + _AS_SEEN, PASS,
        "A mailbox separator stands on top. It is no field."),
    Case(
        "042-attached", HEAD + b"Content-Type: message/rfc822\r\n\r\n" + _AS_SEEN, [],
        "A signed mail is attached to an unsigned one. Its signature is not this mail's.",
    ),
    Case(
        "043-name-in-body", MAIL + b"\r\nDKIM-Signature: v=1; a=rsa-sha256\r\n", [],
        "The name stands in the body only. The mail is unsigned.",
    ),
    Case("044-unsigned", MAIL, [], "A mail without a signature has no result. It costs next to nothing to find out."),
    Case("045-nothing", b"", [], "A mail of no bytes at all. It has no result."),
    Case("046-eight-bit", sign(MAIL.replace(b"lamp", b"l\xe4mp") + b"\xff\x00\r\n"), PASS,
        "Bytes of no charset, and NUL. They are signed as is."),
    Case(
        "047-vertical-tab", sign(MAIL.replace(b"lamp  ", b"lamp \x0b ")).replace(b"lamp \x0b ", b"lamp  "), CHANGED,
        "A vertical tab is no white space to DKIM. Taking it away changes the subject.",
    ),
    Case(
        "048-form-feed-at-end", sign(MAIL.replace(b"bugs.example.net", b"bugs.example.net\x0c")), PASS,
        "A form feed at a field's end is content. Relaxed takes away blanks and tabs only.",
        dkimpy="Strips it before it hashes. RFC 6376 2.8 has WSP, which is blank and tab.",
    ),
    Case(
        "051-second-from-with-blank", b"From : Somebody Else <else@example.org>\r\n" + _AS_SEEN,
        [Expected("policy", "blank before its colon")],
        "A second From has a blank before its colon. Mail programs show it.",
        dkimpy="Takes the line for a mailbox separator, skips it, and passes. RFC 5322 4.5: it is a From field.",
    ),
    Case("049-tab-and-blank-lines", sign(MAIL + b" \t\r\n\t\r\n"), PASS, "Lines of blanks at the end are empty when relaxed. They go."),
    Case(
        "050-blank-lines-simple", sign(MAIL, tags=SIMPLE) + b" \r\n", BODY_CHANGED,
        "A line of one blank is not empty when simple. Adding it changes the body.",
    ),
]  # fmt: skip
