"""The images a model learns from, and where they come from."""
