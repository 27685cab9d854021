"""The network that is served, its filters inside."""
