"""What the trained network's answers rest on, for the report."""
