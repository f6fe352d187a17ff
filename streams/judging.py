"""A stage's word on records, and what it becomes: a fault about one record ends as that record's failure, a word that asks for time
as a retry."""

from collections.abc import Callable, Sequence

from streams.errors import LogError
from streams.faults import Hold, Newer
from streams.record import Draft, Record
from streams.retries import Waiting, attempts
from streams.stage import FOLLOWS, Again, Failure, Result, Stage


class Judge:
    """waiting: the retries, where the stage has them. clock: ms since 1970."""

    def __init__(self, stage: Stage, waiting: Waiting | None, clock: Callable[[], int]) -> None:
        self._stage = stage
        self._waiting = waiting
        self._clock = clock

    def results(self, records: Sequence[Record]) -> list[Result]:
        """The stage's word on each record, or on the first ones (see `Stage.process`); one that it raises on is found by halves and
        ends as that record's failure. Raises Hold, Newer, LogError."""
        waiting = self._waiting
        if waiting is not None and waiting.anybody and any(map(waiting.must_follow, records)):
            following = [waiting.must_follow(record) for record in records]
            run = self._halved([record for record, follows in zip(records, following, strict=True) if not follows])
            return _merged(following, run)
        return self._halved(records)

    def crashed(self, record: Record) -> Result:
        """The word on a record that killed its worker; it is not run."""
        return self._stage.failed(record, Failure("crashed", attempts=attempts(record) + 1))

    def outputs(self, records: Sequence[Record], results: Sequence[Result]) -> list[Draft]:
        """What is to be written for these words. To be called once for each word that is committed: it notes who waits."""
        outputs: list[Draft] = []
        waiting = self._waiting
        for record, result in zip(records, results, strict=True):
            if isinstance(result, Again):
                outputs += self._again(record, result)
            else:
                outputs += result
                if waiting is not None and waiting.anybody:
                    waiting.ended(record)
        return outputs

    def _halved(self, records: Sequence[Record]) -> list[Result]:
        if not records:
            return []
        try:
            return self._stage.process(records)
        except (Hold, Newer, LogError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stage raises is one record's fault until it is shown to be a whole part's
            if len(records) == 1:
                return [self._stage.failed(records[0], Failure("error", error, attempts(records[0]) + 1))]
        half = len(records) // 2
        first = self._halved(records[:half])
        if len(first) < half:
            return first
        # A key of which the first half has one that waits must not run in the second.
        held = {record.key for record, result in zip(records, first, strict=False) if isinstance(result, Again)}
        rest = records[half:]
        try:
            run = self._halved([record for record in rest if record.key not in held])
        except (Hold, Newer, LogError):
            return first  # which may have had effects; it is raised again when its record comes first
        return first + _merged([record.key in held for record in rest], run)

    def _again(self, record: Record, word: Again) -> list[Draft]:
        waiting = self._waiting
        tried = attempts(record) + (not word.follows)
        if waiting is None or (waiting.gives_up(record, self._clock()) and not word.follows):
            failure = Failure("timeout" if word.timeout else "gave-up", attempts=tried, detail=word.why)
            if waiting is not None:
                waiting.ended(record)
            return self._stage.failed(record, failure)
        return [waiting.again(record, word, self._clock())]


def _merged(following: Sequence[bool], run: Sequence[Result]) -> list[Result]:
    """The results of records that were run, and FOLLOWS for those that were not, in their order; up to the first that has none."""
    merged: list[Result] = []
    words = iter(run)
    for follows in following:
        word = FOLLOWS if follows else next(words, None)
        if word is None:
            break
        merged.append(word)
    return merged
