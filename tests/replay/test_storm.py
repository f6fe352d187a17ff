"""A replay under kill -9, with a real PostgreSQL and a real SMTP server: interrupted and taken up again, its workers killed, it repeats no
effect and no reply, but where it is asked to."""

import json
import random
import re
import subprocess
from collections import Counter
from email import message_from_bytes
from itertools import cycle

import pytest

from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place
from tests.chaos.crew import PATIENCE, Crew, until
from tests.handlers.sql import ask
from tests.replies.relays import Moods, relay

WORK = """
from handlers import Reply

FIXED = False

def handle(mail):
    with mail.db.cursor() as cursor:
        cursor.execute("INSERT INTO effects VALUES (%s, %s)", (mail.delivery_id, mail.generation))
    sort = mail.recipient.partition("-")[0]
    if not FIXED and sort != "well":
        raise ValueError("the bug")
    if sort in ("well", "answer"):
        return Reply("Done.")
"""
QUIET = {"allow_unknown_senders": True, "pause_after": 0}
SORTS = ("well", "plain", "answer")
"""well: works from the beginning. plain and answer: fail until the handler is mended. well and answer: are answered."""
WORKERS: dict[str, tuple[str, ...]] = {
    "chain": ("chain",),
    "first": ("handler:work", "replyer"),
    "second": ("handler:work", "chain"),
    "postman": ("postman",),
}
GENERATION = re.compile(r"--resume (\d+)")
EFFECTS = "SELECT delivery, generation, count(*) FROM effects GROUP BY 1, 2"


class Storm:
    """One installation whose replays are interrupted. kills: of workers during each replay, and of the command as often."""

    def __init__(self, place: Place, chance: random.Random, kills: int) -> None:
        self.killed: Counter[str] = Counter()
        self._place = place
        self._chance = chance
        self._kills = kills

    def replay(self, *args: str, spare: tuple[str, ...] = ()) -> int:
        """Applies a replay until it is through; its generation. spare: workers that live."""
        left = self._kills
        with Crew(self._place) as crew:
            for name, roles in WORKERS.items():
                crew.start(name, "run", *roles, "--slot", name)
            while (generation := self._try(*args, may_die=left > 0)) is None:
                left -= 1
                victim = self._chance.choice([name for name in WORKERS if name not in spare])
                self.killed[victim] += 1
                crew.kill_and_start(victim)
            until(lambda: self._place.lines("list", "--pending") == [], "the workers to be done with it")
            crew.stop_all()
        self._place.drain()
        return generation

    def _try(self, *args: str, may_die: bool) -> int | None:
        """The command once, and where another replay has to be finished, that one: the generation when all is in, None when killed."""
        said = self._run(*args, "--apply", may_die=may_die)
        if said and (begun := GENERATION.search(said.stderr)) and said.returncode == 75:
            said = self._run("--resume", begun[1], may_die=may_die)
        if said is None:
            return None
        assert said.returncode == 0, said.stderr
        return int(json.loads(said.stdout)["generation"])

    def _run(self, *args: str, may_die: bool) -> "subprocess.CompletedProcess[str] | None":
        command = self._place.command("replay", *args, "--rate", "100", "--json")
        running = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            stdout, stderr = running.communicate(timeout=self._chance.uniform(0.4, 2.5) if may_die else PATIENCE)
        except subprocess.TimeoutExpired:
            running.kill()
            stdout, stderr = running.communicate()
            self.killed["replay"] += 1
            if not stdout:
                return None
            running.returncode = 0  # it was through, and had told so
        return subprocess.CompletedProcess(command, running.returncode, stdout, stderr)


def founded(make: MakePlace, letter: Letters, database: str, port: int, mails: int) -> Place:
    """An installation in which all has come to an end: a third of the mails is handled, of the others each sender has an OOPS mail."""
    ask(database, "CREATE TABLE effects (delivery text, generation int)")
    place = make(
        handlers={
            "work": {"use": "python", "python": "work:handle", "domains": ["work.org"], "database": database} | QUIET,
        },
        code={"work.py": WORK},
        sections={
            "replies": {
                "answer": "anyone",
                "outbox": None,
                "smtp": f"smtp://127.0.0.1:{port}",
                "per_address_a_day": 10**6,
                "max_an_hour": 10**6,
            }
        },
    )
    senders = cycle(f"person{number}@people.org" for number in range(40))
    place.imported([letter(f"{sort}-{number}@work.org", sender=next(senders)) for number in range(mails // 3) for sort in SORTS])
    place.drain()
    return place


def effects(database: str) -> Counter[tuple[str, int]]:
    """How often the handler did its work, by delivery and generation."""
    return Counter({(delivery, generation): times for delivery, generation, times in ask(database, EFFECTS)})


def sent(moods: Moods) -> Counter[str]:
    """How often each mail of ours went out, by its Message-ID."""
    return Counter(str(message_from_bytes(mail.content)["Message-ID"]) for mail in moods.taken)


def storm(make: MakePlace, letter: Letters, database: str, chance: random.Random, *, mails: int, kills: int) -> str:
    """The bug, its mending, a replay by its cause, and one that asks for the replies; what came of it, in a line."""
    moods = Moods()
    with relay(moods) as port:
        place = founded(make, letter, database, port, mails)
        first = {row["delivery_id"]: row for row in place.outcomes()}
        failed = {id_ for id_, row in first.items() if row["status"] == "failed"}
        assert (len(first), len(failed)) == (mails, mails // 3 * 2)
        oopses = sent(moods)
        assert oopses.total() == mails  # an OOPS mail, or the answer
        assert set(effects(database)) == {(id_, 0) for id_ in first.keys() - failed}

        place.write("work.py", WORK.replace("FIXED = False", "FIXED = True"))
        (group,) = place.lines("failures")
        happening = Storm(place, chance, kills)
        generation = happening.replay("--fingerprint", group["fingerprint"], "--why", "the bug is mended")
        rows = {row["delivery_id"]: row for row in place.outcomes()}
        assert {id_: (row["status"], row["generation"]) for id_, row in rows.items()} == {
            id_: ("handled", generation if id_ in failed else 0) for id_ in first
        }
        once = Counter({(id_, generation if id_ in failed else 0): 1 for id_ in first})
        assert effects(database) == once
        assert sent(moods) == oopses  # not one mail more, though half of what failed is answered by its handler now
        assert {rows[id_]["reply"] for id_ in failed} == {None, "silent:replay"}

        answered = {id_ for id_, row in first.items() if row["recipient"].startswith("answer")}
        again = happening.replay("--where", 'recipient like "answer-*"', "--redo", "--replies", spare=("postman",))
        assert effects(database) == once + Counter({(id_, again): 1 for id_ in answered})
        assert len(sent(moods)) == len(oopses) + len(answered)
        assert set(sent(moods).values()) == {1}
        assert len(place.outcomes("--all")) == len(first) + len(failed) + len(answered)
        assert place.fsck()["ended"] == mails
        return f"{mails} mails; killed: {dict(happening.killed)}"


@pytest.mark.sqlite_only
def test_a_replay_under_kill_repeats_no_effect_and_no_reply_but_where_it_is_asked_to(
    make: MakePlace, letter: Letters, database: str, chance: random.Random
) -> None:
    """The short form, on the embedded log; on Kafka a worker that was killed is missed for seconds each time."""
    print(storm(make, letter, database, chance, mails=120, kills=2))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_long_replays_killed_again_and_again_repeat_no_effect_and_no_reply(
    make: MakePlace, letter: Letters, database: str, chance: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long form."""
    told = storm(make, letter, database, chance, mails=3000, kills=25)
    with capsys.disabled():
        print(f"\n{told}")
