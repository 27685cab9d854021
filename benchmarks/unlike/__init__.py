"""How well a version tells what is unlike anything it has learned."""
