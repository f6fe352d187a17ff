"""Where the groups of an installation stand, seen from beside it."""

from collections.abc import Iterable, Mapping, Sequence

from postroom.roles import CHAIN
from postroom.site import Site
from streams.record import TopicPartition
from tests.acceptance.place import Place

Behind = Mapping[tuple[str, TopicPartition], int]
"""Where a group stands in a partition in which there is something left for it."""


class Watch:
    """Opens the log for itself, as one more process would."""

    def __init__(self, place: Place) -> None:
        self._site = Site.at(place.folder / "postroom.toml")

    def served_by(self, *workers: Sequence[str]) -> set[str]:
        """The groups that processes of these roles are members of; no role is all of them."""
        groups = set(self._site.groups())
        names = {name for roles in workers for role in roles for name in (CHAIN if role == "chain" else (role.replace(":", "."),))}
        return groups if [] in workers else groups & {self._site.topics.group(name) for name in names}

    def behind(self, groups: Iterable[str]) -> Behind:
        """What is left for these groups now; without retries, which may wait."""
        log = self._site.log
        return {
            (group, at): standing.offset
            for group in groups
            for at, standing in log.standings(group, self._sources(group)).items()
            if standing.offset < log.extents(at.topic)[at.partition].end
        }

    def have_moved(self, behind: Behind) -> bool:
        """Whether the groups have gone on in each of these partitions, for all to read."""
        log = self._site.log
        now = {group: log.standings(group, self._sources(group)) for group in {group for group, _ in behind}}
        return all(now[group][at].offset > offset for (group, at), offset in behind.items())

    def _sources(self, group: str) -> list[str]:
        return [topic for topic in self._site.groups()[group] if ".retry." not in topic]

    def close(self) -> None:
        """Lets go of the log."""
        self._site.close()
