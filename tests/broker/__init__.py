"""A real Apache Kafka broker for tests: its jars by Maven, started on free ports with stock limits, gone when the run is."""
