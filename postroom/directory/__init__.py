"""The account directory: who the senders are, from a TOML file (`toml`) or from PostgreSQL (`postgres`), and their keys (`keys`).

`postgres` only looks up: by tables of our own (made by `migrate` from `schema/`, filled by `store`) or by a query onto the user's. All
of it goes through `pool`, where faults of the database are told apart.
"""
