"""A bug tracker by mail, on one's own PostgreSQL tables (bugtracker.sql).

    [handlers.bugs]
    use = "python"
    python = "bugtracker:handle"
    database = "postgresql://localhost/mydatabase"
    domains = ["bugs.example.org"]
    patterns = ["new", "(?P<number>[0-9]{1,9})"]

A mail to new@bugs.example.org opens a bug: the subject is its title, the text its first comment. A mail to 42@bugs.example.org
comments on bug 42. In both, a line that begins with a blank is a command, and those need proof of who sent them:

     status fixed
     assign ada@example.org

All that a mail does is one transaction with the note that it was done, so no mail opens two bugs, whatever dies in between.
"""

from handlers import Mail, Refuse, Reply

STATUSES = ("open", "fixed", "invalid")
HELP = "Commands are one a line, each behind a blank:\n\n status " + "|".join(STATUSES) + "\n assign ADDRESS"


def handle(mail: Mail) -> Reply:
    """Does what the mail asks for, and says so. What cannot be done is refused, and then nothing of the mail is done."""
    text = text_of(mail)
    number = find(mail, int(mail.captures["number"])) if "number" in mail.captures else new(mail)
    commands = [line.split() for line in text.splitlines() if line.startswith((" ", "\t")) and line.strip()]
    comment = "\n".join(line for line in text.splitlines() if not line.startswith((" ", "\t"))).strip()
    done = [run(mail, number, words) for words in commands]
    with mail.db.cursor() as cursor:
        cursor.execute("INSERT INTO comments (bug, author, body) VALUES (%s, %s, %s)", (number, mail.sender, comment))
    return Reply("\n".join([f"Bug {number} has your comment.", *done]), subject=f"[Bug {number}]")


def text_of(mail: Mail) -> str:
    """What counts of the mail: what was signed, else its plain text."""
    if mail.signed_text is not None:
        text = mail.signed_text
    else:
        part = mail.message.get_body(("plain",))
        text = str(part.get_content()) if part else ""
    return text.replace("\0", "")  # which PostgreSQL does not keep


def new(mail: Mail) -> int:
    """Opens a bug and gives its number."""
    title = str(mail.message["subject"] or "").replace("\0", "").strip()
    if not title:
        raise Refuse("Your mail has no subject, which would have been the title of the bug.")
    with mail.db.cursor() as cursor:
        cursor.execute("INSERT INTO bugs (title, reporter) VALUES (%s, %s) RETURNING number", (title, mail.sender))
        row = cursor.fetchone()
    assert row
    return int(row[0])


def find(mail: Mail, number: int) -> int:
    """The bug of that number, locked until this mail is done."""
    with mail.db.cursor() as cursor:
        cursor.execute("SELECT number FROM bugs WHERE number = %s FOR UPDATE", (number,))
        if cursor.fetchone() is None:
            raise Refuse(f"There is no bug {number}. To open one, write to new@{mail.recipient.partition('@')[2]}.")
    return number


def run(mail: Mail, number: int, words: list[str]) -> str:
    """Runs one command and says what it did."""
    if mail.strength != "strong":
        raise Refuse("Commands must be signed, so that nobody can give them in your name. Nothing of your mail was done.")
    match words:
        case ["status", status] if status in STATUSES:
            change = "UPDATE bugs SET status = %s WHERE number = %s"
            value = status
        case ["assign", address]:
            change = "UPDATE bugs SET assignee = %s WHERE number = %s"
            value = address
        case _:
            raise Refuse(f"I do not understand the command {' '.join(words)!r}. Nothing of your mail was done.\n\n{HELP}")
    with mail.db.cursor() as cursor:
        cursor.execute(change, (value, number))
    return f"{words[0]}: {value}"
