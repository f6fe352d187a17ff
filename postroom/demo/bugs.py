"""The demo's handler: bugs by mail. `new@` opens one, a number is a comment on it. A handler is a function of a mail."""

import json
from pathlib import Path

from handlers import Mail, Refuse, Reply

STORE = Path(__file__).with_name("bugs.json")


def handle(mail: Mail) -> bool | Reply | None:
    """Opens a bug or comments on one; what the sender hears is what it returns or raises."""
    bugs = json.loads(STORE.read_text()) if STORE.exists() else {}
    body = mail.message.get_body(("plain",))
    text = mail.signed_text or (body.get_content() if body else "")
    if "number" not in mail.captures:
        number = str(len(bugs) + 1)
        bugs[number] = [f"{mail.message['subject']}\n\n{text}"]
        STORE.write_text(json.dumps(bugs, indent=2))
        return Reply(f"Bug {number} is open. Comments go to {number}@bugs.demo.example.")
    number = mail.captures["number"]
    if number == "0":
        return False  # "this went wrong", without saying how
    if number == "13":
        raise ValueError("the thirteenth bug is unlucky")
    if number not in bugs:
        raise Refuse(f"There is no bug {number}. Write to new@bugs.demo.example to open one.")
    bugs[number].append(text)
    STORE.write_text(json.dumps(bugs, indent=2))
    return None
