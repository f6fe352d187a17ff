"""What the chain on Kafka is held against, each run as a process of its own: `python -m benchmarks.peers.NAME SETTINGS GROUP`."""
