"""The commands, a file a subject; each has `register(app)`."""
