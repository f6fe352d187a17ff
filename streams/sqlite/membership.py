"""Who works on what: workers with a lease, members of groups, and owners of partitions. There is no coordinator.

Each member works out for itself which partitions are meant for it (partition p belongs to the p-th of the live members, counted
round). It lets go of others, and claims its own once they are free. Two members that disagree for a moment do no harm: ownership is
one row, compared inside the transaction that commits, and every change of owner raises its epoch.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from streams.errors import Fenced
from streams.sqlite.slots import Topic, partition_of
from streams.sqlite.worker import is_alive


class Owned(NamedTuple):
    """A claimed slot: where the group stands in it, and the epoch that proves our ownership."""

    offset: int
    note: str
    epoch: int


class Move(NamedTuple):
    """What a commit does to one slot. offset: None leaves it. epoch: ours."""

    slot: int
    offset: int | None
    note: str
    epoch: int


class Member(NamedTuple):
    """One consumer of a worker, as the file knows it."""

    id: int
    group: int
    worker: str
    topics: str


class Holder(NamedTuple):
    """Who has a slot (None: nobody), and since which epoch."""

    owner: int | None
    epoch: int


Query = Callable[[str, Sequence[Any]], list[Any]]
"""Runs a statement on some connection and brings all rows."""


def topics_key(topics: Iterable[Topic]) -> str:
    """How members that share partitions recognise each other: the same topics."""
    return ",".join(str(number) for number in sorted(topic.id for topic in topics))


def ensure_group(connection: sqlite3.Connection, group: str, topics: Iterable[Topic]) -> int:
    """The group's id. Writes its start, the oldest record, for every slot where it has none."""
    connection.execute("INSERT OR IGNORE INTO groups (name, version) VALUES (?, 0)", (group,))
    (number,) = connection.execute("SELECT id FROM groups WHERE name = ?", (group,)).fetchone()
    for topic in topics:
        connection.execute(
            "INSERT OR IGNORE INTO standings SELECT ?, slot, first, '', NULL, 0 FROM heads WHERE slot BETWEEN ? AND ?",
            (number, topic.slot(0), topic.slot(topic.partitions - 1)),
        )
    return int(number)


def join(connection: sqlite3.Connection, group: int, worker: str, expires: float, topics: str) -> Member:
    """A new member of the group."""
    renew(connection, worker, expires)
    number = connection.execute("INSERT INTO members (worker, grp, topics) VALUES (?, ?, ?)", (worker, group, topics)).lastrowid
    assert number is not None
    _changed(connection, group)
    return Member(number, group, worker, topics)


def rejoin(connection: sqlite3.Connection, member: Member, expires: float) -> None:
    """Makes a member known again that others took for dead. What they have not taken meanwhile is still its own."""
    renew(connection, member.worker, expires)
    values = (member.id, member.worker, member.group, member.topics)
    connection.execute("INSERT OR IGNORE INTO members (id, worker, grp, topics) VALUES (?, ?, ?, ?)", values)
    _changed(connection, member.group)


def renew(connection: sqlite3.Connection, worker: str, expires: float) -> None:
    """Lengthens the lease of a worker, and so of all its members."""
    connection.execute("INSERT INTO workers VALUES (?, ?) ON CONFLICT DO UPDATE SET expires = excluded.expires", (worker, expires))


def leave(connection: sqlite3.Connection, member: Member) -> None:
    """Frees all that the member owns, and forgets it."""
    connection.execute("UPDATE standings SET owner = NULL WHERE grp = ? AND owner = ?", (member.group, member.id))
    connection.execute("DELETE FROM members WHERE id = ?", (member.id,))
    _changed(connection, member.group)


def retire(connection: sqlite3.Connection, worker: str) -> None:
    """Forgets a worker and its members, who leave what they owned to others."""
    connection.execute("UPDATE groups SET version = version + 1 WHERE id IN (SELECT grp FROM members WHERE worker = ?)", (worker,))
    connection.execute("DELETE FROM members WHERE worker = ?", (worker,))
    connection.execute("DELETE FROM workers WHERE id = ?", (worker,))


def release(connection: sqlite3.Connection, member: Member, slots: Iterable[int]) -> None:
    """Frees these slots, as far as the member owns them."""
    connection.executemany(
        "UPDATE standings SET owner = NULL WHERE grp = ? AND slot = ? AND owner = ?", [(member.group, slot, member.id) for slot in slots]
    )
    _changed(connection, member.group)


def live_members(query: Query, member: Member, now: float) -> tuple[dict[int, str], set[str]]:
    """The live members of its group, each with its topics; and the workers found dead. now: CLOCK_MONOTONIC."""
    found = query(_MEMBERS, (member.group,))
    leases = {worker: expires or 0.0 for _, _, worker, expires in found}
    dead = {worker for worker, expires in leases.items() if worker != member.worker and not is_alive(worker, expires, now)}
    return {number: topics for number, topics, worker, _ in found if worker not in dead}, dead


def meant_for(member: Member, live: Mapping[int, str], partitions: int) -> set[int]:
    """The partitions that are to be that member's: those that fall to it when they are dealt out to all who read the same topics."""
    peers = sorted(number for number, topics in live.items() if topics == member.topics)
    return {partition for partition in range(partitions) if peers[partition % len(peers)] == member.id}


def owners(query: Query, group: int, topics: Iterable[Topic]) -> dict[int, Holder]:
    """Who holds each slot of the topics."""
    found: dict[int, Holder] = {}
    for topic in topics:
        last = topic.slot(topic.partitions - 1)
        for slot, owner, epoch in query(_OWNERS, (group, topic.slot(0), last)):
            found[slot] = Holder(owner, epoch)
    return found


def free(partitions: set[int], topics: Sequence[Topic], holders: Mapping[int, Holder], live: Collection[int]) -> set[int]:
    """Those of the partitions that are nobody's, or a dead member's, in all topics."""
    return {p for p in partitions if all((owner := holders[topic.slot(p)].owner) is None or owner not in live for topic in topics)}


def claim(connection: sqlite3.Connection, member: Member, topics: Sequence[Topic], ours: Collection[int], now: float) -> dict[int, Owned]:
    """Takes the slots of every partition that is meant for the member and free. ours: partitions that it has already. Forgets dead
    workers on the way."""

    def query(text: str, values: Sequence[Any]) -> list[Any]:
        return connection.execute(text, values).fetchall()

    live, dead = live_members(query, member, now)
    for worker in dead:
        retire(connection, worker)
    if member.id not in live:
        # Another took us for dead since we looked; the next look sees that.
        return {}
    wanted = meant_for(member, live, topics[0].partitions).difference(ours)
    taken = {
        topic.slot(partition): Owned(*connection.execute(_CLAIM, (member.id, member.group, topic.slot(partition))).fetchone())
        for partition in free(wanted, topics, owners(query, member.group, topics), live)
        for topic in topics
    }
    if taken:
        _changed(connection, member.group)
    return taken


def held(connection: sqlite3.Connection, member: Member) -> dict[int, Owned]:
    """The slots that the member owns, and where the group stands in them."""
    query = "SELECT slot, offset, note, epoch FROM standings WHERE grp = ? AND owner = ?"
    return {slot: Owned(*rest) for slot, *rest in connection.execute(query, (member.group, member.id))}


def move(connection: sqlite3.Connection, member: Member, moves: Sequence[Move]) -> None:
    """Moves the group, or writes notes, in slots that the member owns. Raises Fenced if it does not own all of them."""
    for slot, offset, note, epoch in moves:
        if connection.execute(_MOVE, (offset, note, member.group, slot, member.id, epoch)).rowcount != 1:
            raise Fenced(f"another member owns partition {partition_of(slot)} of one of the topics; nothing of this commit was stored")


def _changed(connection: sqlite3.Connection, group: int) -> None:
    connection.execute("UPDATE groups SET version = version + 1 WHERE id = ?", (group,))


_MEMBERS = "SELECT m.id, m.topics, m.worker, w.expires FROM members m LEFT JOIN workers w ON w.id = m.worker WHERE m.grp = ?"
_OWNERS = "SELECT slot, owner, epoch FROM standings WHERE grp = ? AND slot BETWEEN ? AND ?"
_CLAIM = "UPDATE standings SET owner = ?, epoch = epoch + 1 WHERE grp = ? AND slot = ? RETURNING offset, note, epoch"
_MOVE = "UPDATE standings SET offset = coalesce(?, offset), note = ? WHERE grp = ? AND slot = ? AND owner = ? AND epoch = ?"
