"""Benchmarks: what the figures in README come from. `python -m ddsched_nb.bench --help`."""
