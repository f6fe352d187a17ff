-- The tables of examples/bugtracker.py: psql mydatabase < bugtracker.sql
CREATE TABLE bugs (
    number serial PRIMARY KEY,
    title text NOT NULL,
    reporter text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    assignee text
);
CREATE TABLE comments (
    bug integer NOT NULL REFERENCES bugs,
    author text NOT NULL,
    body text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
