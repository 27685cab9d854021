"""The real Triton on a machine without Docker."""
