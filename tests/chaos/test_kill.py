"""E1 and E6: kill -9 at random moments, while mails come in by LMTP and by import and three processes work on them."""

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.books import balanced
from tests.chaos.crew import Crew, MailServer, until
from tests.chaos.town import Town, found, mbox
from tests.chaos.watch import Watch

ROLES: list[list[str]] = [
    [],  # all
    ["lmtp", "chain", "replyer"],
    ["lmtp", "handler:box", "handler:work", "postman"],
    ["lmtp", "bounce-filter", "authentication", "routing", "handler:box", "replyer", "postman"],
]
READABLE_WITHIN = 15.0
"""Seconds after a kill in which somebody must have gone on with what the dead process had in hand, in every partition (E1)."""


def test_killed_at_random_moments_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path, chance: random.Random) -> None:
    """The short form."""
    print(Storm(tmp_path, chance, mails=700, kills=6).blow())


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_a_hundred_times_while_20_000_mails_come_in(
    tmp_path: Path, chance: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long form."""
    told = Storm(tmp_path, chance, mails=20_000, kills=100).blow()
    with capsys.disabled():
        print(f"\n{told}")


class Storm:
    """Mails come in, of which a fifth by LMTP, while processes are killed; then everything is accounted for."""

    def __init__(self, folder: Path, chance: random.Random, mails: int, kills: int) -> None:
        self._chance = chance
        self._kills = kills
        self._place = found(folder)
        town = Town(chance)
        self._handed_over = [town.letter(chance.choice((1, 1, 2, 3))) for _ in range(mails // 5)]
        self._imported = town.letters(mails - len(self._handed_over))
        size = -(-len(self._imported) // kills)
        boxes = [self._imported[at : at + size] for at in range(0, len(self._imported), size)]
        self._boxes = [str(mbox(folder / f"{number}.mbox", box)) for number, box in enumerate(boxes)]
        self._roles: dict[str, list[str]] = {f"worker{number}": roles for number, roles in enumerate(ROLES[:3])}
        self._slowest = 0.0

    def blow(self) -> str:
        """All of it; what came of it, in a line."""
        began = time.monotonic()
        with Crew(self._place) as crew:
            self._place.run("topics", "--create")
            for name, roles in self._roles.items():
                crew.start(name, "run", *roles)
            sockets = [crew.socket(name) for name in self._roles]
            until(lambda: any(map(crew.listens, self._roles)), "a listener")
            server = MailServer(self._handed_over, sockets, random.Random(self._chance.random()))
            server.start()
            with closing(Watch(self._place)) as watch:
                for number in range(self._kills):
                    self._let_import(crew, self._boxes[number % len(self._boxes)])
                    time.sleep(self._chance.uniform(0.0, 1.5))
                    self._kill_one(crew, watch)
            server.finish()
            self._place.run("import", *self._boxes)
            crew.stop_all(but="import")
        self._place.drain()
        books = balanced(self._place, self._handed_over + self._imported)
        assert books.crashed <= max(1, self._kills // 20)
        return (
            f"{self._kills} kills in {time.monotonic() - began:.0f} s; somebody went on after {self._slowest:.1f} s at the latest; "
            f"{server.again} hand-overs again; {books}"
        )

    def _let_import(self, crew: Crew, box: str) -> None:
        """Unless the last one is still at it."""
        if "import" not in crew.running or crew.running["import"].poll() is not None:
            crew.start("import", "import", box)

    def _kill_one(self, crew: Crew, watch: Watch) -> None:
        """A worker or the import. Then the worker starts again, with the same roles or others, at once or once others have gone on."""
        victim = self._chance.choice([*self._roles, "import"])
        crew.kill(victim)
        killed = time.monotonic()
        if victim == "import":
            return
        before, after = self._roles.pop(victim), self._chance.choice(ROLES)
        others = watch.served_by(*self._roles.values())
        how = self._chance.choice(("others go on", "it comes back", "the next kill comes at once"))
        if how != "others go on":
            crew.start(victim, "run", *after)
            others |= watch.served_by(after)
        if how != "the next kill comes at once":
            behind = watch.behind(watch.served_by(before) & others)
            until(lambda: watch.have_moved(behind), "somebody to go on", READABLE_WITHIN)
            self._slowest = max(self._slowest, time.monotonic() - killed)
        if how == "others go on":
            crew.start(victim, "run", *after)
        self._roles[victim] = after
