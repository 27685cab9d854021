"""Serving speed, side by side: `python -m benchmarks.serving`, or `make bench`."""
