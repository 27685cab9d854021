"""Weights of networks that others have trained: where they come from, and how they are read."""
