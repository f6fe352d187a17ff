"""The account directory: who the senders are, from a TOML file or from PostgreSQL (`topology.ports.Directory`), and their keys."""
