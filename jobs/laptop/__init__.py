"""Serving on this machine: Triton and the transformer as child processes that follow the ledger."""
