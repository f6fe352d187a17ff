"""The event log on Apache Kafka, through confluent-kafka (librdkafka)."""

from streams.kafka.engine import KafkaLog

__all__ = ["KafkaLog"]
