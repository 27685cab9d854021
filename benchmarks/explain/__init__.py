"""What explanations are worth, and what they cost those who ask for none."""
