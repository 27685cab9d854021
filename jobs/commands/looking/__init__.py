"""Commands that look at data, runs and versions, and change nothing."""
