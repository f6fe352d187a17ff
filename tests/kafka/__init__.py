"""What only Kafka does: its errors made to happen, brokers and workers killed, foreign producers."""
