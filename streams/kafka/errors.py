"""The one border between the client's errors and ours: what each KafkaError code means.

Codes below 0 are librdkafka's own, the others the broker's (Kafka protocol guide, "Error codes").
"""

from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException

from streams.errors import Fatal, Fenced, LogError, PositionExpired, TooLarge, TopicMissing, Transient

# Another member has our partitions, or another producer our transactional id.
_FENCED = """
    _FENCED _ASSIGNMENT_LOST _MAX_POLL_EXCEEDED PRODUCER_FENCED INVALID_PRODUCER_EPOCH INVALID_PRODUCER_ID_MAPPING
    TRANSACTION_COORDINATOR_FENCED UNKNOWN_PRODUCER_ID UNKNOWN_MEMBER_ID ILLEGAL_GENERATION REBALANCE_IN_PROGRESS
    FENCED_INSTANCE_ID UNRELEASED_INSTANCE_ID FENCED_MEMBER_EPOCH STALE_MEMBER_EPOCH STREAMS_TOPOLOGY_FENCED
"""
# The position is outside what the partition still has.
_EXPIRED = """
    _AUTO_OFFSET_RESET OFFSET_OUT_OF_RANGE _LOG_TRUNCATION
"""
# The topic's max.message.bytes.
_TOO_LARGE = """
    MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG_SIZE
"""
# No such topic or partition.
_MISSING = """
    UNKNOWN_TOPIC_OR_PART UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID _UNKNOWN_TOPIC _UNKNOWN_PARTITION
"""
# Refused: rights, names and passwords.
_REFUSED = """
    TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_EXPIRED DELEGATION_TOKEN_NOT_FOUND
    DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED SASL_AUTHENTICATION_FAILED
    UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED PRINCIPAL_DESERIALIZATION_FAILURE INVALID_PRINCIPAL_TYPE
    UNACCEPTABLE_CREDENTIAL _AUTHENTICATION
"""
# Settings that cannot work.
_UNWORKABLE = """
    _INVALID_ARG _NOT_CONFIGURED INVALID_CONFIG INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_PARTITIONS
    TOPIC_EXCEPTION POLICY_VIOLATION TOPIC_ALREADY_EXISTS TOPIC_DELETION_DISABLED DUPLICATE_RESOURCE RESOURCE_NOT_FOUND
    INVALID_TRANSACTION_TIMEOUT INVALID_SESSION_TIMEOUT INVALID_GROUP_ID INVALID_REQUIRED_ACKS INCONSISTENT_GROUP_PROTOCOL
    GROUP_MAX_SIZE_REACHED UNSUPPORTED_ASSIGNOR GROUP_ID_NOT_FOUND NON_EMPTY_GROUP GROUP_SUBSCRIBED_TO_TOPIC
    INVALID_REGULAR_EXPRESSION _UNKNOWN_GROUP _EXISTING_SUBSCRIPTION LISTENER_NOT_FOUND OFFSET_METADATA_TOO_LARGE
    INVALID_COMMIT_OFFSET_SIZE INVALID_TIMESTAMP
"""
# A broker or client of another age.
_OTHER_AGE = """
    UNSUPPORTED_VERSION UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE UNSUPPORTED_ENDPOINT_TYPE
    MISMATCHED_ENDPOINT_TYPE _UNSUPPORTED_FEATURE _UNKNOWN_PROTOCOL _NOT_IMPLEMENTED FEATURE_UPDATE_FAILED
"""
# What the client should never have sent, and what it cannot make sense of.
_SENSELESS = """
    INVALID_REQUEST INVALID_RECORD INVALID_UPDATE_VERSION _BAD_MSG _BAD_COMPRESSION _KEY_SERIALIZATION _KEY_DESERIALIZATION
    _VALUE_SERIALIZATION _VALUE_DESERIALIZATION _INVALID_TYPE _INVALID_DIFFERENT_RECORD _READ_ONLY _GAPLESS_GUARANTEE
    _FATAL _APPLICATION
"""
# Parts of the protocol that this program does not use: share groups, streams groups, quorum changes, telemetry.
_UNUSED = """
    INVALID_REGISTRATION INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND INCONSISTENT_VOTER_SET INVALID_RECORD_STATE
    INVALID_SHARE_SESSION_EPOCH SHARE_SESSION_NOT_FOUND SHARE_SESSION_LIMIT_REACHED STREAMS_INVALID_TOPOLOGY
    STREAMS_INVALID_TOPOLOGY_EPOCH FENCED_STATE_EPOCH UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE UNKNOWN_CONTROLLER_ID
"""
# Nobody answers, or not in time.
_AWAY = """
    _ALL_BROKERS_DOWN _TRANSPORT _RESOLVE _SSL _TIMED_OUT _TIMED_OUT_QUEUE _MSG_TIMED_OUT _UNKNOWN_BROKER _NODE_UPDATE
    _WAIT_COORD _WAIT_CACHE _DESTROY_BROKER REQUEST_TIMED_OUT NETWORK_EXCEPTION BROKER_NOT_AVAILABLE REBOOTSTRAP_REQUIRED
"""
# The brokers are busy with themselves.
_BUSY = """
    LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE
    ELECTION_NOT_NEEDED REPLICA_NOT_AVAILABLE FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH OFFSET_NOT_AVAILABLE
    UNSTABLE_OFFSET_COMMIT NOT_CONTROLLER STALE_CTRL_EPOCH STALE_BROKER_EPOCH COORDINATOR_LOAD_IN_PROGRESS
    COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF
    REASSIGNMENT_IN_PROGRESS NO_REASSIGNMENT_IN_PROGRESS THROTTLING_QUOTA_EXCEEDED OPERATION_NOT_ATTEMPTED
    _NOENT FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH MEMBER_ID_REQUIRED
"""
# The broker's disk: full, or faulty.
_DISK = """
    KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND
"""
# A transaction that must be aborted, and may be tried again.
_ABORTED = """
    TRANSACTION_ABORTABLE CONCURRENT_TRANSACTIONS INVALID_TXN_STATE OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER
    _INCONSISTENT _PURGE_QUEUE _PURGE_INFLIGHT _STATE _CONFLICT _PREV_IN_PROGRESS _IN_PROGRESS
"""
# librdkafka's own doings, a damaged message on the wire, and what nobody can say more about.
_CLIENT = """
    _QUEUE_FULL _RETRY _INTR _DESTROY _FAIL _FS _CRIT_SYS_RESOURCE _NO_OFFSET _OUTDATED _PARTIAL _UNDERFLOW _NOOP
    _PARTITION_EOF _ASSIGN_PARTITIONS _REVOKE_PARTITIONS INVALID_MSG UNKNOWN
"""

MEANING: Mapping[int, type[LogError]] = {
    getattr(KafkaError, name): ours
    for ours, names in (
        (Fenced, _FENCED),
        (PositionExpired, _EXPIRED),
        (TooLarge, _TOO_LARGE),
        (TopicMissing, _MISSING),
        (Fatal, _REFUSED),
        (Fatal, _UNWORKABLE),
        (Fatal, _OTHER_AGE),
        (Fatal, _SENSELESS),
        (Fatal, _UNUSED),
        (Transient, _AWAY),
        (Transient, _BUSY),
        (Transient, _DISK),
        (Transient, _ABORTED),
        (Transient, _CLIENT),
    )
    for name in names.split()
    if hasattr(KafkaError, name)  # An older confluent-kafka does not know the newest.
}
"""What each code means. One that is not here, of a newer client, is Transient where the client says that it may be tried
again, else Fatal."""

AWAY = frozenset(
    {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
)
"""Codes behind which there may be no broker at all, a wrong port, or a wrong password: a fresh connection finds out which."""

NEEDS_A_RIGHT = "; the user of [log.kafka] needs a right for this (docs/kafka.md, Rights)"
"""What to do about a right that is missing, to be put behind an error's text."""


def meaning(error: KafkaError) -> type[LogError]:
    """Which of our errors it is."""
    return MEANING.get(error.code(), Transient if error.retriable() else Fatal)


def translated(exception: KafkaException, doing: str, *, found: KafkaError | None = None, redact: Callable[[str], str] = str) -> LogError:
    """Our error for the client's, which becomes its `__cause__`.

    doing: what was being done, with the topic, group or address that it was done to. found: what a fresh connection met where
    the brokers are away; it decides then (a wrong password is Fatal, though librdkafka only says that time was up).
    """
    error: KafkaError = found or exception.args[0]
    kind = meaning(error)
    ours = kind(redact(f"{doing}: {error.str()} ({error.name()}){_remedy(error.code(), kind)}"))
    ours.__cause__ = exception
    return ours


def _remedy(code: int, kind: type[LogError]) -> str:
    """Which settings to look at."""
    if code in _DISKS:
        return "; the broker's disk (its log.dirs) is full or broken: make room there, or let [log.topics] retention be shorter"
    if code == KafkaError._MSG_TIMED_OUT:  # of a broker that answers: one that does not was looked for before, and found to be away
        return "; a broker answers, and does not store: see that the topic has a leader, and the leader room on its disk (its log.dirs)"
    if kind is TooLarge:
        return "; raise [log.topics] max_message_bytes and the topics' own, or lower [archive] inline_limit (see `postroom check`)"
    if code in _RIGHTS:
        return NEEDS_A_RIGHT
    return "; look at sasl.username and sasl.password in [log.kafka]" if code in _NAMES else ""


_RIGHTS = frozenset(getattr(KafkaError, name) for name in _REFUSED.split() if name.endswith("AUTHORIZATION_FAILED"))
_DISKS = frozenset(getattr(KafkaError, name) for name in _DISK.split())
_NAMES = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
