"""The installation that the chaos tests work on, and mails of every sort, each with what must become of it."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.place import Place

PEOPLE = 60
"""Accounts. Some senders have none."""

CODE = """
import os, time
from pathlib import Path
from handlers import Refuse, Reply, Retry

HERE = Path(__file__).parent

def handle(mail):
    time.sleep(0.001)
    with open(HERE / "calls", "a") as calls:
        calls.write(mail.idempotency_key + "\\n")
    word = mail.recipient.partition("-")[0]
    if word == "fail":
        raise ValueError("cannot")
    if word == "false":
        return False
    if word == "refuse":
        raise Refuse("There is no such thing.")
    if word == "answer":
        return Reply("Thank you.")
    if word == "later":
        marker = HERE / "later" / mail.idempotency_key
        if not marker.exists():
            marker.touch()
            raise Retry(after=0.2)
"""

_HANDLED = ("handled", None)
WORDS = {
    "plain": _HANDLED,
    "fail": ("failed", "handler-error"),
    "false": ("failed", "handler-false"),
    "refuse": ("returned", "refused"),
    "answer": _HANDLED,
    "later": _HANDLED,
}
"""The local part's first word -> what becomes of a delivery to the Python handler."""

ANSWERED = {"fail", "false", "refuse", "answer"}


class Letter(NamedTuple):
    """A mail. id: its Message-ID. recipients: where it goes, by its envelope or its To. expect: status and reason of each delivery. owed:
    how many mails we owe for it."""

    id: str
    text: str
    recipients: tuple[str, ...]
    expect: tuple[tuple[str, str | None], ...]
    owed: int


class Town:
    """Writes mails, each with its own Message-ID."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0

    def letter(self, recipients: int = 1) -> Letter:
        """A mail to so many recipients."""
        chance = self._chance
        self._number += 1
        sort = chance.choices(("known", "unknown", "bulk", "nobody"), (88, 4, 4, 4))[0]
        sender = f"person{chance.randrange(PEOPLE)}@people.example" if sort != "unknown" else "stranger@elsewhere.example"
        words = [chance.choices(("box", *WORDS), (40, 40, 4, 2, 4, 4, 6))[0] for _ in range(recipients)]
        places = [
            f"{number}@box.example" if word == "box" else f"{word}-{number}@work.example"
            for number, word in zip(chance.sample(range(300), recipients), words, strict=True)
        ]
        if sort == "nobody":
            places = [place.replace(".example", ".nowhere.example") for place in places]
        fields = "Precedence: bulk\n" if sort == "bulk" else ""
        text = (
            f"From: {sender}\nTo: {', '.join(places)}\nSubject: mail {self._number}\nMessage-ID: <{self._number}@chaos.example>\n"
            f"Date: Mon, 02 Mar 2026 10:00:00 +0000\n{fields}\nhello {self._number}\n{'x' * chance.randrange(4000)}\n"
        )
        expect, owed = {
            "known": (tuple(WORDS.get(word, _HANDLED) for word in words), sum(word in ANSWERED for word in words)),
            "unknown": ((("rejected", "unknown-sender"),) * recipients, 0),
            "bulk": ((("dropped", "precedence"),), 0),
            "nobody": ((("failed", "no-handler"),) * recipients, 1),
        }[sort]
        return Letter(f"{self._number}@chaos.example", text, tuple(places), expect, owed)

    def letters(self, count: int) -> list[Letter]:
        """So many mails to one recipient each."""
        return [self.letter() for _ in range(count)]


def mbox(path: Path, letters: Sequence[Letter]) -> Path:
    """The mails in a file."""
    path.write_text("".join(f"From a@b Mon Mar  2 10:00:00 2026\n{letter.text}\n" for letter in letters))
    return path


def found(folder: Path, url: str = "sqlite:///postroom.db", **sections: dict[str, Any]) -> Place:
    """A Maildir handler and a Python handler, short retries, replies into a Maildir without limit. url: of the log."""
    (folder / "later").mkdir()
    people = [{"id": f"p{n}", "name": f"Person {n}", "addresses": [f"person{n}@people.example"]} for n in range(PEOPLE)]
    replies: dict[str, Any] = {"per_address_a_day": 1_000_000, "max_an_hour": 1_000_000} | sections.pop("replies", {})
    return Place(
        folder,
        url,
        handlers={
            "box": {"use": "maildir", "path": "box/", "domains": ["box.example"]},
            "work": {
                "use": "python",
                "python": "work:handle",
                "domains": ["work.example"],
                "retry_delays": [0.2, 0.5, 1.0],
                "pause_after": 0,
            },
        },
        accounts=people,
        sections={"replies": replies, **sections},
        code={"work.py": CODE},
    )
