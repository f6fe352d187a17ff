"""A preview by several processes, side by side: each has some partitions of mail.outcomes, where all outcomes of a mail stand together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from postroom.crew import Crew, Tick, cores
from postroom.reading.selectors import Selectors
from postroom.replay.entry import Plan, Stage, first
from postroom.replay.preview import Judge, Preview
from postroom.replay.selection import Selection
from postroom.replay.steps import source, steps
from postroom.replay.trying import Trying
from postroom.site import Site

FEW = 20_000
"""Records of mail.outcomes for which it is not worth while to start processes."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried. judge: the settings to judge by, None for the installation's own; now_ms: what relative times count from;
    start: the first stage to run; as_of_now: whether accounts, keys and DNS are asked afresh."""

    judge: Path | None
    selectors: Selectors
    now_ms: int
    start: Stage
    as_of_now: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Select in these partitions, and say how many there are."""

    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Judge what was selected, at most so many mails."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class Said:
    """mails, deliveries: how many are selected. found: of a `Run`."""

    mails: int
    deliveries: int
    found: Preview


class Part:
    """Works on some partitions. site: whose log and archive. owns_site: whether it is to be closed in the end."""

    def __init__(self, trial: Trial, site: Site, *, owns_site: bool = False) -> None:
        self._trial = trial
        self._owns_site = owns_site
        self._site = site
        judge = Site.at(trial.judge) if trial.judge else site
        judge.read_parts()
        plan = Plan(trial.start, frozenset(judge.handler_names), trial.as_of_now)
        self._trying = Trying(judge, site.archive)
        self._judge = Judge(steps(site, judge), judge.reader, source(site), plan, self._trying)
        self._chosen: Selection | None = None

    @classmethod
    def opened(cls, trial: Trial, settings: Path) -> "Part":
        """The same on an installation that it opens itself."""
        return cls(trial, Site.at(settings), owns_site=True)

    def close(self) -> None:
        """See `Worker`."""
        self._trying.close()
        if self._owns_site:
            self._site.close()

    def __call__(self, task: Count | Run, tick: Tick) -> Said:
        """First `Count`, then `Run`. Raises Hold, Newer, LogError."""
        if isinstance(task, Count):
            wanted = self._trial.selectors.filter(self._trial.now_ms)
            self._chosen = Selection(self._site.log, self._site.topics, wanted, every=True, partitions=task.partitions)
        assert self._chosen
        found = self._judge.preview(first(self._chosen.mails(), task.limit), tick) if isinstance(task, Run) else Preview()
        return Said(self._chosen.count, self._chosen.deliveries, found)


def preview(
    site: Site, trial: Trial, limit: int | None, counted: Callable[[int, int], Tick], processes: int | None = None
) -> tuple[Preview, int]:
    """What would become of the selected mails, and how many outcomes were selected. counted: told the number of mails and of
    deliveries before anything runs; gives what is to be told the progress. processes: how many; None: as many as there are processors,
    where there is enough to do. With a limit one alone works, because the oldest mails may stand anywhere. Raises Hold, Newer, LogError,
    SettingsError."""
    partitions = site.log.partitions(site.topics.outcomes)
    if limit is not None or partitions == 0:
        processes = 1
    elif processes is None:
        records = sum(extent.end - extent.first for extent in site.log.extents(site.topics.outcomes))
        processes = cores() if records > FEW else 1
    processes = max(1, min(processes, partitions))
    make = partial(Part.opened, trial, site.config.file) if processes > 1 else partial(Part, trial, site)
    with Crew[Count | Run, Said](processes, make) as crew:
        shares = [Count(tuple(range(number, partitions, processes))) for number in range(processes)]
        selected = crew.each(shares)
        mails, deliveries = sum(said.mails for said in selected), sum(said.deliveries for said in selected)
        tick = counted(mails if limit is None else min(mails, limit), deliveries)
        found = Preview()
        for said in crew.each([Run(limit)] * processes, tick):
            found += said.found
    return found, deliveries
