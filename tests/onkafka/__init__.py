"""The whole program on a real broker, where that differs from the embedded log."""
