"""A worker that is killed again and again: `python -m tests.handlers.worker URL FOLDER COUNT`.

It processes the same routed mails from the beginning each time, as one does whose outcomes never reached the log, and prints what
it answers, a line a mail.
"""

import sys
from pathlib import Path

from handlers import Mail, Reply
from handlers.database import Effects
from handlers.python import PythonHandler
from tests.handlers.kit import TOPICS, outcomes, routed, stage_of, written

BATCH = 10


def handle(mail: Mail) -> Reply:
    """Two statements, so that a kill can fall between them."""
    with mail.db.cursor() as cursor:
        cursor.execute("INSERT INTO done VALUES (%s)", (str(mail.message["subject"]),))
        cursor.execute("UPDATE total SET n = n + 1 RETURNING n")
        (number,) = cursor.fetchone() or (0,)
    return Reply(f"You were number {number}.")


def main(url: str, folder: Path, count: int) -> None:
    """All mails, in batches."""
    stage = stage_of(PythonHandler("test", handle, effects=Effects(url, "test", 60)), folder)
    for start in range(0, count, BATCH):
        results = stage.process([routed(n) for n in range(start, start + BATCH)])
        assert set(outcomes(results)) == {"handled"}
        for result in results:
            (answer,) = written(result, TOPICS.answers)
            print(answer.value.decode().rstrip().rpartition("\n")[2], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
