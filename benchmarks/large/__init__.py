"""What many pictures cost: memory and time from ten thousand to a million."""
