"""What librdkafka's clients are told: the settings that the contract rests on, and ours by default."""

from collections.abc import Mapping

CALL_SECONDS = 4.0
"""How long one question to the brokers may take before they count as away."""

TRANSACTION_MS = 4_000
"""After so long the broker may end a transaction whose owner died and never came back; readers stand before it meanwhile. Ours take some
10 ms, full ones 100, and the broker looks every 10 s (`SWEEP_MS`), so that what the next owner writes is readable within 15 s of a
death."""

DELIVERY_MS = 10_000
"""After so long a record outside of transactions has failed. Mail servers wait for their answer meanwhile."""

SWEEP_MS = 10_000
"""How often a broker of stock settings looks for such transactions (transaction.abort.timed.out.transaction.cleanup.interval.ms)."""

FIXED: Mapping[str, str] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",
    "allow.auto.create.topics": "false",
    "enable.idempotence": "true",
    "acks": "all",
    "partitioner": "murmur2_random",
}
"""Settings that the contract rests on. A user who sets another value is told so."""

OURS = (
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "transactional.id",
    "request.required.acks",
    "logger",
    "error_cb",
    "on_delivery",
)
"""Settings that we choose for each client."""

CONSUMER: Mapping[str, str | int] = {
    # A worker that was killed holds its partitions for a session. The broker takes 6 s or more.
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    # Half of librdkafka's memory for what is read ahead, of which each role has its own.
    "queued.max.messages.kbytes": 32_768,
    # How soon a full read-ahead queue is looked at again; librdkafka's default of 1 s would halve the rate.
    "fetch.queue.backoff.ms": 20,
    # How long the broker holds a fetch that finds nothing; the end of a partition is told after it.
    "fetch.wait.max.ms": 200,
}
PRODUCER: Mapping[str, str | int] = {
    # The broker decides what is too large for a topic; this bounds memory alone.
    "message.max.bytes": 64 * 1024 * 1024,
    "linger.ms": 0,
    # Who begins a transaction right after the last is told to wait until that one is marked everywhere, some ms; the default is 100.
    "retry.backoff.ms": 5,
}

LINGER_MS = 20
"""How long a record within a transaction waits for others to be sent with; the commit sends at once what waits. Sending each at once took
25 µs more of CPU a mail. Single appends wait for nobody."""
