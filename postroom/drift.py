"""The topics as the log has them, held against the settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from postroom.site import Site, partitions_differ
from streams.log import TopicSpec

if TYPE_CHECKING:
    from streams.kafka.topics import TopicState

_KEY_OF = {
    "retention.ms": "retention",
    "min.insync.replicas": "min_insync_replicas",
    "max.message.bytes": "max_message_bytes",
}
"""The broker's names, and ours in [log.topics]."""

_ALWAYS = {
    "message.timestamp.type": ("LogAppendTime", "append times would be what producers claim"),
    "cleanup.policy": ("delete", "compaction takes mails that nobody has read"),
}
"""What every topic needs, whatever the settings say, and what goes wrong otherwise."""


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A topic. What the log does not tell is None: all where it is missing, all but partitions on SQLite. retention: seconds; None
    for ever. drift: what differs from the settings, a sentence each, with what to do."""

    topic: str
    state: Literal["ok", "missing", "drifted"]
    partitions: int | None
    replication: int | None
    retention: float | None
    min_insync_replicas: int | None
    max_message_bytes: int | None
    drift: tuple[str, ...]


def compare(site: Site) -> list[TopicRow]:
    """Every topic that the settings imply, in the order of `Site.topic_specs`. Settings that are not given are the broker's to choose,
    and never drift. Raises Transient, Fatal."""
    specs = site.topic_specs()
    if site.settings.log.url.startswith("kafka://"):
        from streams.kafka import KafkaLog

        assert isinstance(site.log, KafkaLog)
        states = site.log.describe([spec.name for spec in specs])
        return [_row(spec, states.get(spec.name)) for spec in specs]
    there = site.log.topics()
    return [_plain(spec, there.get(spec.name)) for spec in specs]


def _plain(spec: TopicSpec, partitions: int | None) -> TopicRow:
    drift = () if partitions is None or partitions == spec.partitions else (partitions_differ(spec, partitions),)
    return TopicRow(spec.name, _state(partitions, drift), partitions, None, None, None, None, drift)


def _row(spec: TopicSpec, state: "TopicState | None") -> TopicRow:
    if state is None:
        return _plain(spec, None)
    config, drift = state.config, tuple(_drift(spec, state))
    retention = int(config["retention.ms"])
    return TopicRow(
        spec.name,
        _state(state.partitions, drift),
        state.partitions,
        state.replication,
        None if retention < 0 else retention / 1000,
        int(config["min.insync.replicas"]),
        state.max_message_bytes,
        drift,
    )


def _state(partitions: int | None, drift: tuple[str, ...]) -> Literal["ok", "missing", "drifted"]:
    return "missing" if partitions is None else "drifted" if drift else "ok"


def _drift(spec: TopicSpec, state: "TopicState") -> list[str]:
    found = []
    if state.partitions != spec.partitions:
        found.append(partitions_differ(spec, state.partitions))
    if spec.replication not in (None, state.replication):
        found.append(
            f"replication is {state.replication}, [log.topics] replication says {spec.replication}: kafka-reassign-partitions changes it"
        )
    for key, value in _wanted(spec).items():
        if state.config.get(key) != value:
            ours = f"[log.topics] {_KEY_OF[key]} says" if key in _KEY_OF else "it has to be"
            why = f" ({_ALWAYS[key][1]})" if key in _ALWAYS else ""
            found.append(f"{key} is {state.config.get(key)}, {ours} {value}{why}: kafka-configs --alter changes it")
    return found


def _wanted(spec: TopicSpec) -> Mapping[str, str]:
    retention = {} if spec.retention is None else {"retention.ms": str(int(spec.retention * 1000))}
    return {**{key: value for key, (value, _) in _ALWAYS.items()}, **retention, **spec.config}
