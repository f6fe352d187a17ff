"""Authentication-Results: our own server's word counts, and nobody else can put words into its mouth."""

import authres
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.authres import ResultsVerdict, judge

US = "mx.example.net"


def signers(*fields: str) -> tuple[str, ...]:
    return judge([field.encode("utf-8", "surrogateescape") for field in fields], US).signers


def author(*fields: str) -> str | None:
    return judge([field.encode() for field in fields], US).author


@pytest.mark.parametrize(
    "field",
    [
        f"{US}; dkim=pass header.d=example.org",
        f" {US} 1;\r\n\tdkim=pass (2048-bit key)\r\n header.d=Example.ORG header.s=sel header.b=abc+/=",
        "MX.Example.Net; spf=none smtp.mailfrom=a+b=c@example.com; dkim = pass header . d = example.org.",
        f'{US} (a (nested) comment \\) here); dkim/1=pass reason="good; signature" header.i=@example.org;',
        f'{US}; dkim=pass header.d=example.org header.i=sample@mail.example.org policy.dkim-rules="a;b (c"',
        f'{US}; dkim=pass header.i="a;b"@example.org x-bits=2048; arc=none',
        f"{US}; dkim=PASS header.d=example.org; dkim=fail header.d=example.com",
        f"{US}; dkim=pass header.d=example.org; dkim=neutral header.d=example.org",
    ],
)
def test_a_pass_by_our_server_names_the_signer(field: str) -> None:
    assert signers(field) == ("example.org",)


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("other.example.net; dkim=pass header.d=example.org", "another id"),
        (f"{US}.example.org; dkim=pass header.d=example.org", "an id that begins like ours"),
        (f"x{US}; dkim=pass header.d=example.org", "an id that ends like ours"),
        (f"other.example.net ({US}; dkim=pass header.d=example.org)", "our id in a comment"),
        (f"other.example.net; x=\"; {US}; dkim=pass header.d=example.org\"", "our id in a quoted string"),
        (f'"{US}"; dkim=pass header.d=example.org', "our id as a quoted string"),
        (f"({US}; dkim=pass header.d=example.org", "an open comment in front"),
        (f"{US}; dkim=none (dkim=pass header.d=example.org)", "the result in a comment"),
        (f"{US}; dkim=fail (a (b) dkim=pass header.d=example.org)", "the result in a comment that holds another"),
        (f"{US}; dkim=fail (\\) ; dkim=pass header.d=example.org)", "a bracket that is quoted within a comment"),
        (f"{US}; dkim=fail (\" ) ; dkim=pass header.d=example.org \")", "a quote within a comment is no quote"),
        (f"{US}; dkim=fail reason=\"; dkim=pass header.d=example.org\"", "the result in a quoted string"),
        (f"{US}; dkim=fail reason=\"\\\"; dkim=pass header.d=example.org\"", "a quote that is quoted"),
        (f"{US}; dkim=fail reason=\"a; dkim=pass header.d=example.org", "a quoted string without an end"),
        (f"{US}; dkim=pass header.b=a ((header.d=example.org", "comments without an end"),
        (f"{US}; dkim=pass) header.d=example.org", "a bracket too many"),
        (f"{US}; dkim=pass header.d=example.org\\", "a backslash on its own"),
        (f"{US}; dkim=pass; spf=pass header.d=example.org", "a property of another clause"),
        (f"{US}; spf=pass header.d=example.org; dkim=pass", "a property of the clause before"),
        (f"{US}; dkim=pass header.d=example.org; dkim=fail header.d=example.org", "a fail of the same signer behind"),
        (f"{US}; dkim=fail header.d=example.org; dkim=pass header.d=EXAMPLE.ORG", "a fail of the same signer in front"),
        (f"{US}; dkim=fail dkim=pass header.d=example.org", "two results in one clause"),
        (f"{US}; dkim=pass dkim=fail header.d=example.org", "two results in one clause, the pass first"),
        (f"{US}; dkim=pass header.d=example.com header.d=example.org", "two signers in one clause"),
        (f"{US}; dkim=pass header.d=example.org header.i=@example.com", "an identity outside the signer's domain"),
        (f"{US}; dkim=pa(x)ss header.d=example.org", "a word that a comment parts"),
        (f'{US}; dkim="pass" header.d=example.org extra', "a word that is no property"),
        (f"{US}; dkim=passed header.d=example.org", "a result of our own making"),
        (f"{US}; xdkim=pass header.d=example.org", "a method that ends like dkim"),
        (f"{US}; dkim-adsp=pass header.d=example.org", "a method that begins like dkim"),
        (f"{US}; dkim/2=pass header.d=example.org", "another version of the method"),
        (f"{US} 2; dkim=pass header.d=example.org", "another version of the field"),
        (f"{US}; dkim=pass header.d=", "no domain"),
        (f"{US}; dkim=pass smtp.d=example.org", "a property of another kind"),
        (f"{US} dkim=pass header.d=example.org", "no semicolon behind the id"),
        (f"{US}; none; dkim=pass header.d=example.org\x00", "a control character"),
        (f"{US}; dkim=pass header.d=example.org" + " " * 20_000, "a field of 20,000 bytes"),
        (f"{US}; dkim=pass header.d=example.org" + "; a=b" * 60, "a field of sixty clauses"),
        ("", "nothing at all"),
    ],
)  # fmt: skip
def test_everything_else_counts_for_nothing(field: str, why: str) -> None:
    assert signers(field) == (), why


GOOD = f"{US}; dkim=pass header.d=example.org; dmarc=pass header.from=example.org"


@pytest.mark.parametrize(
    "second",
    [GOOD, f"{US}; none", "MX.EXAMPLE.NET; dkim=fail header.d=example.com", f'"{US}"; none', f"{US}; broken (", f"(x){US} 1; none"],
)
def test_a_second_field_by_us_makes_both_count_for_nothing(second: str) -> None:
    for fields in ([GOOD, second], [second, GOOD]):
        verdict = judge([field.encode() for field in fields], US)
        assert (verdict.field, verdict.signers, verdict.author, verdict.claims) == (None, (), None, ())
        assert "2 fields" in verdict.reason


def test_fields_of_others_do_not_harm_ours() -> None:
    assert signers("other.example.net; dkim=fail header.d=example.org", GOOD, "junk (") == ("example.org",)


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ("dmarc=pass (p=none dis=none) header.from=example.org", "example.org"),
        ("dmarc=pass header.from=sample@example.org", "example.org"),
        ("dmarc=pass header.from=bücher.example", "xn--bcher-kva.example"),
        ("dmarc=pass action=none header.from=example.org;compauth=pass reason=100", "example.org"),
        ("dmarc=pass", None),
        ("dmarc=fail header.from=example.org", None),
        ("dmarc=fail header.from=example.org; dmarc=pass header.from=example.org", None),
        ("dmarc=pass header.from=example.org; dmarc=fail header.from=example.com", None),
        ("dmarc=pass header.from=example.org; dmarc=pass header.from=example.com", None),
        ("dmarc=pass header.from=example.com header.from=example.org", None),
        ("dmarc=pass smtp.mailfrom=example.org", None),
        ("dkim=pass header.from=example.org; dmarc=none", None),
    ],
)
def test_dmarc_names_the_author_only_where_all_agree(clauses: str, expected: str | None) -> None:
    assert author(f"{US}; {clauses}") == expected


def test_without_an_authserv_id_no_field_counts() -> None:
    assert judge([GOOD.encode(), b"; dkim=pass header.d=example.org"], "") == ResultsVerdict(reason="no authserv_id is set")


def test_the_field_that_counted_is_kept_as_evidence_up_to_a_kibibyte() -> None:
    verdict = judge([f"{GOOD}; x=y ({'a' * 5000})".encode()], US)
    assert verdict.field is not None
    assert (len(verdict.field), verdict.signers) == (1024, ("example.org",))


_WORD = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)
_DOMAIN = st.builds("{}.{}".format, _WORD, st.sampled_from(["org", "example", "co.uk"]))
_COMMENT = st.sampled_from(["", " (comment)", " (a (b) c)", "\t(; dkim=pass header.d=x.org)"])
_CLAUSE = st.builds(
    "{}={}{}{} {}.{}={}{}".format,
    st.sampled_from(["dkim", "dmarc", "spf", "arc"]),
    st.sampled_from(["pass", "fail", "none", "neutral"]),
    _COMMENT,
    st.sampled_from(["", ' reason="a; b"', " reason=ok"]),
    st.sampled_from(["header", "smtp"]),
    st.sampled_from(["d", "from", "mailfrom"]),
    _DOMAIN,
    _COMMENT,
)


@given(st.lists(_CLAUSE, min_size=1, max_size=5))
def test_the_authres_package_reads_well_formed_fields_as_we_do(clauses: list[str]) -> None:
    field = "; ".join([US, *clauses])
    theirs = []
    for result in authres.all_features().parse_value(field).results:
        key = {"dkim": "header.d", "dmarc": "header.from"}.get(result.method)
        if key:
            found = [str(one.value) for one in result.properties if f"{one.type}.{one.name}" == key]
            theirs.append((result.method, result.result, found[0] if found else None))
    assert [(claim.method, claim.result, claim.domain) for claim in judge([field.encode()], US).claims] == theirs


_HOSTILE = st.lists(
    st.sampled_from([US, ";", "(", ")", '"', "\\", "=", ".", "dkim", "pass", "header.d", "x.org", " ", "\t", "é", "\x00"]), max_size=40
)


@given(_HOSTILE.map("".join))
def test_nothing_in_quotes_or_brackets_is_ever_believed(text: str) -> None:
    """Whatever stands in a closed comment or quoted string of our field, the signer in it is not found."""
    inner = text.replace("\\", "").replace("\x00", "")
    for before, inside, after in (("(", inner.replace("(", "").replace(")", ""), ")"), ('x="', inner.replace('"', ""), '"')):
        assert "x.org" not in signers(f"{US}; dkim=fail {before}{inside}; dkim=pass header.d=x.org{after}")


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_without_a_fault(field: bytes) -> None:
    judge([field, US.encode() + b";" + field], US)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["(", ")", '"', '"a\\', "a.", "a= ", " ", "()", ";", '""', "; dkim=pass header.d=a.b", "(" * 2000 + ")" * 2000, "\\"]
)
def test_long_fields_are_read_in_linear_time(piece: str) -> None:
    for field in (f"{US};{piece * (16_000 // len(piece))}", f"{US}; dkim=pass {piece * (1_000_000 // len(piece))}"):
        judge([field.encode()] * 20, US)
