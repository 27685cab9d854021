"""Scoring offline: an archive of pictures becomes a table of a version's answers."""
