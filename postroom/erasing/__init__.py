"""Erasing mails: their bytes go wherever the engine allows, a tombstone stays, and what remains is told."""
