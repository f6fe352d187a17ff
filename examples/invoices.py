"""An inbox for invoices: each PDF that comes by mail becomes a file, and a line in a register that a spreadsheet opens.

    [handlers.invoices]
    use = "python"
    python = "invoices:handle"
    domains = ["invoices.example.org"]
    allow_unknown_senders = true

Files stand beside the settings, in invoices/<delivery id>-<n>.pdf. A handler without a database may be called again for a mail that
it had done already (the machine may die before its word is on the log), so it names what it writes after `mail.idempotency_key`:
writing it again changes nothing.
"""

import csv
from pathlib import Path

from handlers import Mail, Refuse

FOLDER = Path(__file__).with_name("invoices")


def handle(mail: Mail) -> None:
    """Stores the PDFs of a mail and registers them. A mail without one goes back."""
    found = [part.get_content() for part in mail.message.walk() if part.get_content_type() == "application/pdf"]
    invoices = [data for data in found if isinstance(data, bytes) and data.startswith(b"%PDF-")]
    if not invoices:
        raise Refuse("Your mail has no PDF attached. Please send your invoice as a PDF file.")
    for number, data in enumerate(invoices, start=1):
        store(f"{mail.idempotency_key}-{number}.pdf", data)
    entry = FOLDER / f"{mail.idempotency_key}.csv"
    with entry.open("w", newline="") as file:
        csv.writer(file).writerow([safe(mail.sender), safe(mail.message["subject"]), safe(mail.message["date"]), len(invoices)])


def store(name: str, data: bytes) -> None:
    """Writes a file whole or not at all."""
    FOLDER.mkdir(exist_ok=True)
    part = FOLDER / f"{name}.part"
    part.write_bytes(data)
    part.replace(FOLDER / name)


def safe(value: object) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    text = " ".join(str(value or "").split())
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def register() -> list[list[str]]:
    """All that came, oldest first: sender, subject, date, number of files."""
    entries = sorted(FOLDER.glob("*.csv"), key=lambda path: path.stat().st_mtime)
    return [row for entry in entries for row in csv.reader(entry.read_text().splitlines())]
