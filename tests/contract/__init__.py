"""The log's contract as tests. Every engine passes the same ones; see engines.py for how an engine is entered."""
