"""Versions and what is said of them, in a folder or a bucket."""
