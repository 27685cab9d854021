"""Other servers with our int8 graph and our decoder: `python -m benchmarks.peers`."""
