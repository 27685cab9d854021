"""What is scored: the pictures of a source, which need no classes, and how their bytes are brought."""
