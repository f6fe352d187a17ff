"""The event log: records, topics, consumer groups, the engines that keep them, and the runner that works on them.

Knows nothing of mail. `streams.log` states the contract; `streams.sqlite` and `streams.kafka` are its engines.
"""
