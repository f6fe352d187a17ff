"""Every code of the client means one of our errors."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.errors import Fatal, Fenced, LogError, PositionExpired, TooLarge, TopicMissing, Transient
from streams.kafka.errors import MEANING, meaning, translated

CODES = {name: code for name in dir(KafkaError) if isinstance(code := getattr(KafkaError, name), int) and name != "NO_ERROR"}


def test_every_code_that_the_client_knows_has_a_meaning() -> None:
    assert [name for name, code in CODES.items() if code not in MEANING] == []


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("_FENCED", Fenced),
        ("PRODUCER_FENCED", Fenced),
        ("INVALID_PRODUCER_EPOCH", Fenced),
        ("UNKNOWN_MEMBER_ID", Fenced),
        ("ILLEGAL_GENERATION", Fenced),
        ("_ASSIGNMENT_LOST", Fenced),
        ("_AUTO_OFFSET_RESET", PositionExpired),
        ("OFFSET_OUT_OF_RANGE", PositionExpired),
        ("MSG_SIZE_TOO_LARGE", TooLarge),
        ("RECORD_LIST_TOO_LARGE", TooLarge),
        ("UNKNOWN_TOPIC_OR_PART", TopicMissing),
        ("_UNKNOWN_TOPIC", TopicMissing),
        ("TOPIC_AUTHORIZATION_FAILED", Fatal),
        ("GROUP_AUTHORIZATION_FAILED", Fatal),
        ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Fatal),
        ("_AUTHENTICATION", Fatal),
        ("INVALID_REPLICATION_FACTOR", Fatal),
        ("UNSUPPORTED_VERSION", Fatal),
        ("_FATAL", Fatal),
        ("_TRANSPORT", Transient),
        ("_ALL_BROKERS_DOWN", Transient),
        ("_TIMED_OUT", Transient),
        ("_MSG_TIMED_OUT", Transient),
        ("NOT_LEADER_FOR_PARTITION", Transient),
        ("NOT_ENOUGH_REPLICAS", Transient),
        ("COORDINATOR_LOAD_IN_PROGRESS", Transient),
        ("KAFKA_STORAGE_ERROR", Transient),
        ("OUT_OF_ORDER_SEQUENCE_NUMBER", Transient),
        ("TRANSACTION_ABORTABLE", Transient),
    ],
)
def test_a_code_means(name: str, ours: type[LogError]) -> None:
    assert meaning(KafkaError(CODES[name])) is ours


@pytest.mark.parametrize(("retriable", "ours"), [(True, Transient), (False, Fatal)])
def test_a_code_that_nobody_knows_yet_means_what_the_client_says_of_it(retriable: bool, ours: type[LogError]) -> None:
    assert meaning(KafkaError(32_000, "new", retriable=retriable)) is ours


def test_the_text_says_what_was_being_done_and_the_cause_is_the_clients_error() -> None:
    exception = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "Broker: Topic authorization failed"))
    error = translated(exception, "writing 5 bytes to topic mail.raw")
    assert isinstance(error, Fatal)
    said = "writing 5 bytes to topic mail.raw: Broker: Topic authorization failed (TOPIC_AUTHORIZATION_FAILED)"
    assert str(error).startswith(said)
    assert error.__cause__ is exception


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "[log.kafka] needs a right"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "sasl.password in [log.kafka]"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "[archive] inline_limit"),
    ],
)
def test_the_text_names_the_settings_to_look_at(code: int, setting: str) -> None:
    assert setting in str(translated(KafkaException(KafkaError(code)), "reading"))


def test_what_a_fresh_connection_found_decides() -> None:
    exception = KafkaException(KafkaError(KafkaError._TIMED_OUT, "Local: Timed out"))
    found = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: invalid credentials")
    assert type(translated(exception, "reading the topics", found=found)) is Fatal
