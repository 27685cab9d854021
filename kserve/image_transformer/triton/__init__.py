"""The way to Triton: connections, pods, calls."""
