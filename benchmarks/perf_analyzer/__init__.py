"""Triton's own load generator against a running service, as a second one beside wrk and h2load."""
