"""Accounts for tests, and tables that somebody else made long before postroom came."""

from contextlib import closing
from typing import Any

import psycopg2

from postroom.directory.entries import account_of

ADA = account_of("ada", "Ada", ["ada@north.example", "ada@xn--mnchen-3ya.example"], ["A" * 40])
BEN = account_of("ben", "Ben", ["ben@south.example"], active=False)
CLEO = account_of("cleo", "Cleo", ["cleo@north.example"], require_strong=True)

OWN_TABLES = """
    CREATE TABLE users (number int PRIMARY KEY, login text, email text, gone date);
    CREATE TABLE pgp (number int REFERENCES users, print text, key text, changed timestamptz DEFAULT now());
    INSERT INTO users VALUES (1, 'ada', 'Ada@North.Example', NULL), (2, 'ben', 'ben@south.example', '2026-01-01'), (3, NULL, NULL, NULL);
    INSERT INTO pgp VALUES (1, 'aaaa aaaa aaaa aaaa aaaa  aaaa aaaa aaaa aaaa aaaa', NULL), (1, repeat('B', 40), NULL)
"""
OWN_QUERY = """
    SELECT email AS address, users.number AS id, login AS name, gone IS NULL AS active, print AS fingerprints
    FROM users LEFT JOIN pgp USING (number) WHERE lower(email) = ANY(%(addresses)s)
"""


def ask(url: str, sql: str, *values: object) -> list[Any]:
    """Runs SQL, committed."""
    with closing(psycopg2.connect(url)) as db, db, db.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []
