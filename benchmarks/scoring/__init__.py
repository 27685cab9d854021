"""Scoring offline, side by side with others on the same pictures and the same graph."""
