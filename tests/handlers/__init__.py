"""Handlers, on real parts: processes, files, PostgreSQL."""
