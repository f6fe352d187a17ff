"""Figures beside their peers; `python -m benchmarks` runs them. What each means, and its caveats: benchmarks/README.md."""
