"""What is learned, and how an image becomes its input."""
