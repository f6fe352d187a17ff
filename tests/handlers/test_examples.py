"""The sample handlers do what they say, tested as their authors would test them."""

import importlib
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from handlers import Mail, Reply, Retry
from handlers.registry import HandlerSpec, build
from handlers.testkit import Again, Said, call, mail
from topology.ports import Account

EXAMPLES = Path(__file__).parents[2] / "examples"
ADA = Account("ada", "Ada Lovelace")


@pytest.fixture(autouse=True)
def _examples() -> Iterator[None]:
    sys.path.append(str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


@pytest.mark.parametrize("name", ["bugtracker", "invoices"])
def test_the_registry_builds_them(name: str) -> None:
    """As their docstrings say."""
    build(HandlerSpec(name="sample", use="python", python=f"{name}:handle"), EXAMPLES).close()


# -- bugs by mail ----------------------------------------------------------------------------------------------------


@pytest.fixture
def db(database: str) -> Iterator[Any]:
    """The tracker's tables."""
    connection = psycopg2.connect(database)
    connection.cursor().execute((EXAMPLES / "bugtracker.sql").read_text())
    connection.commit()
    yield connection
    connection.close()


def bug(db: Any, text: str, to: str = "new", **known: Any) -> Said | Again:
    """The tracker's word on a mail."""
    handle = importlib.import_module("bugtracker").handle
    captures = {"number": to} if to.isdigit() else {}
    raw = f"From: ada@example.org\nSubject: It crashes\n\n{text}"
    return call(handle, mail(raw, recipient=f"{to}@bugs.example.org", account=ADA, captures=captures, db=db, **known))


def rows(db: Any, sql: str) -> list[Any]:
    with db.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.mark.postgres
def test_a_bug_is_opened_and_commented_on(db: Any) -> None:
    """The reply names its number, which is the address to write to."""
    word = bug(db, "When I press the button.\n")
    assert isinstance(word, Said)
    assert word.reply == Reply("Bug 1 has your comment.", "[Bug 1]")
    assert isinstance(bug(db, "Still does.\n", "1"), Said)
    assert rows(db, "SELECT title, reporter, status FROM bugs") == [("It crashes", "ada@example.org", "open")]
    assert rows(db, "SELECT body FROM comments WHERE bug = 1") == [("When I press the button.",), ("Still does.",)]


@pytest.mark.postgres
def test_commands_need_proof(db: Any) -> None:
    """Signed, they are done; unsigned, the mail is refused with a reason."""
    bug(db, "When I press the button.\n")
    refused = bug(db, "Mended.\n status fixed\n", "1")
    assert isinstance(refused, Said)
    assert (refused.status, refused.reason) == ("returned", "refused")
    done = bug(db, "Mended.\n status fixed\n assign bob@example.org\n", "1", signed=True)
    assert isinstance(done, Said)
    assert done.reply
    assert done.reply.text == "Bug 1 has your comment.\nstatus: fixed\nassign: bob@example.org"
    assert rows(db, "SELECT status, assignee FROM bugs") == [("fixed", "bob@example.org")]


@pytest.mark.postgres
@pytest.mark.parametrize(("text", "to", "words"), [("Hello.", "99", "There is no bug 99"), (" status done", "new", "do not understand")])
def test_what_cannot_be_done_is_refused_in_words(db: Any, text: str, to: str, words: str) -> None:
    """The sender can act on it."""
    word = bug(db, text, to, signed=True)
    assert isinstance(word, Said)
    assert word.reason == "refused"
    assert words in (word.detail or "")


# -- invoices --------------------------------------------------------------------------------------------------------


@pytest.fixture
def invoices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with its folder in the test's own."""
    module = importlib.import_module("invoices")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "invoices")
    return module


def invoice(subject: str = "Invoice 7", data: bytes = b"%PDF-1.7 ...") -> Mail:
    message = EmailMessage()
    message["From"] = "shop@example.org"
    message["Subject"] = subject
    message.set_content("Please find attached.")
    message.add_attachment(data, maintype="application", subtype="pdf", filename="invoice.pdf")
    return mail(message.as_bytes(), recipient="in@invoices.example.org")


def test_an_invoice_becomes_a_file_and_a_line_also_when_it_comes_twice(invoices: Any) -> None:
    """It is called at least once, and writes the same again."""
    sent = invoice()
    for _ in range(2):
        assert call(invoices.handle, sent) == Said("handled")
    (stored,) = invoices.FOLDER.glob("*.pdf")
    assert stored.read_bytes() == b"%PDF-1.7 ..."
    assert invoices.register() == [["shop@example.org", "Invoice 7", "", "1"]]


def test_a_mail_without_a_pdf_goes_back(invoices: Any) -> None:
    """Also when something else is called one."""
    for sent in (mail("From: a@example.org\n\nhello"), invoice(data=b"MZ")):
        word = call(invoices.handle, sent)
        assert isinstance(word, Said)
        assert word.reason == "refused"


def test_a_formula_stays_text(invoices: Any) -> None:
    """A spreadsheet would run it."""
    call(invoices.handle, invoice(subject="=HYPERLINK(1)"))
    assert invoices.register()[0][1] == "'=HYPERLINK(1)"


# -- the kit ---------------------------------------------------------------------------------------------------------


def test_the_kit_reads_files_and_calls_coroutines(tmp_path: Path) -> None:
    """And shows what went wrong."""
    file = tmp_path / "a.eml"
    file.write_bytes(b"From: ada@example.org\nSubject: x\n\n")

    async def handle(to_handle: Mail) -> None:
        if to_handle.sender == "ada@example.org":
            raise Retry(60)
        raise ValueError("whoever")

    assert call(handle, mail(file)) == Again("the handler asked to be called again", after=60.0)
    word = call(handle, mail(file, sender="bob@example.org"))
    assert isinstance(word, Said)
    assert isinstance(word.error, ValueError)
    with pytest.raises(ValueError, match="no mail address"):
        mail(file, sender="nobody")
