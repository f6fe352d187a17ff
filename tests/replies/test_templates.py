"""The words: what each mail says, and what becomes of a team's own templates."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.replies.cases import RECIPIENT, facts
from topology.facts import REASONS
from topology.replies.templates import NEEDED, PLACEHOLDERS, Context, TemplateFault, Templates, wrapped

CONTEXT = Context("https://help.example.org/", 10 << 20)
OWN = Templates()


def test_the_oops_mail_apologises_and_says_the_id_and_where_to_ask() -> None:
    """A3."""
    for reason in REASONS["failed"]:
        case = facts("failed", reason, detail="KeyError: secret")
        assert case.outcome
        assert case.outcome.oops_id
        text = OWN.text(case, CONTEXT)
        assert "sorry, something went wrong" in text
        assert case.outcome.oops_id in text
        assert CONTEXT.help in text
        assert RECIPIENT in text
        assert "secret" not in text
        assert "handler" not in text


def test_a_refusal_says_what_the_handler_said() -> None:
    """R1: wrapped at 72, longer words whole, the handler's own lines kept."""
    url = "https://bugs.example.net/" + "x" * 2000
    text = OWN.text(facts("returned", "refused", detail=f"no such bug\n\n{'word ' * 100}\nsee {url}"[:1000]), CONTEXT)
    assert "\nno such bug\n\n" in text
    assert all(len(line) <= 72 or " " not in line for line in text.splitlines())
    assert "x" * 400 in text


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("bad-signature", True), ("signature-time", False), ("strong-required", False), ("too-large", False), ("refused", True)],
)
def test_only_two_notices_quote_the_detail(reason: str, shown: bool) -> None:
    """S4, S5, S14 to S16; the detail of the others is for people who run the mail."""
    text = OWN.text(facts("returned", reason, detail="the key has expired"), CONTEXT)
    assert ("the key has expired" in text) == shown
    assert CONTEXT.help in text
    assert "$" not in text


def test_a_too_large_mail_is_told_both_sizes() -> None:
    """S16."""
    text = OWN.text(facts("returned", "too-large", size=25 << 20), CONTEXT)
    assert "25.0 MiB" in text
    assert "10.0 MiB" in text


def test_one_reply_names_all_addresses_of_its_decision() -> None:
    """What routing fails at once is one mail."""
    case = facts("failed", "no-handler", recipients=("a@baz.example", "b@baz.example"))
    assert "your mail to a@baz.example, b@baz.example" in OWN.text(case, CONTEXT).replace("\n", " ")


def test_what_is_put_into_a_template_is_not_a_template() -> None:
    """A dollar sign of the sender's stays one."""
    assert "$oops_id ${x}" in OWN.text(facts("returned", "refused", detail="$oops_id ${x}"), CONTEXT)


def test_a_team_replaces_one_template_and_keeps_the_others(tmp_path: Path) -> None:
    """By a file of the same name."""
    (tmp_path / "oops.txt").write_text("Oh no! $oops_id costs $$5.\n", "utf-8")
    templates = Templates(tmp_path)
    assert templates.text(facts(), CONTEXT).startswith("Oh no! OOPS-")
    assert templates.text(facts(), CONTEXT).endswith(" costs $5.\n")
    assert templates.text(facts("returned", "refused", detail="no"), CONTEXT) == OWN.text(
        facts("returned", "refused", detail="no"), CONTEXT
    )


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("oops.txt", "Sorry.", "must say \\$oops_id"),
        ("refused.txt", "$detail $handler", "\\$handler is unknown"),
        ("refused.txt", "$detail costs $5", "dollar sign"),
        ("refuse.txt", "$detail", "never be used"),
    ],
)
def test_a_template_that_cannot_be_used_is_named_at_the_start(tmp_path: Path, name: str, text: str, word: str) -> None:
    """`check` and every role that needs it say which file and what to do."""
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(TemplateFault, match=word) as caught:
        Templates(tmp_path)
    assert name in str(caught.value)


def test_a_folder_that_is_none_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Likewise."""
    with pytest.raises(TemplateFault, match="is no folder"):
        Templates(tmp_path / "missing")
    (tmp_path / "gone.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateFault, match=r"gone\.txt: cannot be read as UTF-8"):
        Templates(tmp_path)


def test_our_own_texts_fit_their_width() -> None:
    """And say nothing to readers of Windows alone."""
    assert set(NEEDED) == {path.stem for path in (Path(__file__).parents[2] / "topology/replies/templates").iterdir()}
    assert OWN.gone(CONTEXT).isascii()


@given(st.text(max_size=2000))
def test_wrapping_loses_no_word(text: str) -> None:
    """Only blanks become line ends."""
    assert wrapped(text).split() == text.split()


def test_every_template_is_told_to_people() -> None:
    page = Path(__file__).parents[2].joinpath("docs/replies.md").read_text(encoding="utf-8")
    assert [name for name in NEEDED if f"`{name}.txt`" not in page] == []
    assert [name for name in PLACEHOLDERS if f"`${name}`" not in page] == []
